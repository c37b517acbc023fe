package tracing

import (
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/chandler-broker/chandler/services"
)

// Driver returns the driver of a backend with a span for each call that goes to
// the backend's server. Readiness is asked for too often to be of interest.
func Driver(backend string, d services.Driver) services.Driver { return driver{d, backend} }

type driver struct {
	services.Driver
	backend string
}

func (d driver) begin(ctx context.Context, verb, instanceID, bindingID string) (context.Context, trace.Span) {
	attributes := []attribute.KeyValue{attribute.String("chandler.backend", d.backend)}
	if instanceID != "" {
		attributes = append(attributes, attribute.String("chandler.instance.id", instanceID))
	}
	if bindingID != "" {
		attributes = append(attributes, attribute.String("chandler.binding.id", bindingID))
	}
	return Start(ctx, "backend "+verb, attributes...)
}

func (d driver) Provision(ctx context.Context, inst services.RawInstance) error {
	ctx, span := d.begin(ctx, "provision", inst.ID, "")
	err := d.Driver.Provision(ctx, inst)
	End(span, err)
	return err
}

func (d driver) Update(ctx context.Context, prev, next services.RawInstance) error {
	ctx, span := d.begin(ctx, "update", next.ID, "")
	err := d.Driver.Update(ctx, prev, next)
	End(span, err)
	return err
}

func (d driver) Deprovision(ctx context.Context, inst services.RawInstance) error {
	ctx, span := d.begin(ctx, "deprovision", inst.ID, "")
	err := d.Driver.Deprovision(ctx, inst)
	End(span, err)
	return err
}

func (d driver) Bind(ctx context.Context, inst services.RawInstance, b services.RawBinding) (services.Credentials, error) {
	ctx, span := d.begin(ctx, "bind", inst.ID, b.ID)
	c, err := d.Driver.Bind(ctx, inst, b)
	End(span, err)
	return c, err
}

func (d driver) Unbind(ctx context.Context, inst services.RawInstance, b services.RawBinding) error {
	ctx, span := d.begin(ctx, "unbind", inst.ID, b.ID)
	err := d.Driver.Unbind(ctx, inst, b)
	End(span, err)
	return err
}

func (d driver) Verify(ctx context.Context, inst services.RawInstance, b services.RawBinding) error {
	ctx, span := d.begin(ctx, "verify", inst.ID, b.ID)
	err := d.Driver.Verify(ctx, inst, b)
	End(span, err)
	return err
}

func (d driver) Describe(ctx context.Context, inst services.RawInstance) (map[string]any, error) {
	ctx, span := d.begin(ctx, "describe", inst.ID, "")
	attributes, err := d.Driver.Describe(ctx, inst)
	End(span, err)
	return attributes, err
}

func (d driver) Adopt(ctx context.Context, inst services.RawInstance, resource string, dry bool) ([]string, bool, error) {
	ctx, span := d.begin(ctx, "adopt", inst.ID, "")
	steps, ok, err := d.Driver.Adopt(ctx, inst, resource, dry)
	End(span, err)
	return steps, ok, err
}

func (d driver) Directory(ctx context.Context, inst services.RawInstance) (string, bool, error) {
	ctx, span := d.begin(ctx, "directory", inst.ID, "")
	dir, ok, err := d.Driver.Directory(ctx, inst)
	End(span, err)
	return dir, ok, err
}

func (d driver) Reconcile(ctx context.Context, plans []json.RawMessage, instances []services.RawInstance) (services.ReconcileResult, error) {
	ctx, span := d.begin(ctx, "reconcile", "", "")
	span.SetAttributes(attribute.Int("chandler.instances", len(instances)))
	faults, err := d.Driver.Reconcile(ctx, plans, instances)
	End(span, err)
	return faults, err
}
