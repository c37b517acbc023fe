package tracing

import (
	"context"
	"encoding/json"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/chandler-broker/chandler/credhub"
)

// Credentials returns the store with a span for each call.
func Credentials(s credhub.Store) credhub.Store { return credentials{s} }

// Delivery returns the delivery with a span for each call that goes out.
func Delivery(name string, d credhub.Delivery) credhub.Delivery { return delivery{d, name} }

type delivery struct {
	credhub.Delivery
	name string
}

func (d delivery) begin(ctx context.Context, verb string, r credhub.Reader) (context.Context, trace.Span) {
	return Start(ctx, "delivery "+verb, attribute.String("chandler.delivery", d.name),
		attribute.String("chandler.instance.id", r.InstanceID), attribute.String("chandler.binding.id", r.BindingID))
}

func (d delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	ctx, span := d.begin(ctx, "deliver", r)
	err := d.Delivery.Deliver(ctx, r, value)
	End(span, err)
	return err
}

func (d delivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	ctx, span := d.begin(ctx, "withdraw", r)
	err := d.Delivery.Withdraw(ctx, r)
	End(span, err)
	return err
}

type credentials struct{ credhub.Store }

func begin(ctx context.Context, verb string, path credhub.Path) (context.Context, trace.Span) {
	return Start(ctx, "credentials "+verb, attribute.String("chandler.credential.path", path.String()))
}

func (s credentials) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	ctx, span := begin(ctx, "ensure", path)
	stored, err := s.Store.Ensure(ctx, path, value)
	End(span, err)
	return stored, err
}

func (s credentials) Change(ctx context.Context, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	ctx, span := begin(ctx, "change", path)
	err := s.Store.Change(ctx, path, change)
	End(span, err)
	return err
}

func (s credentials) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	ctx, span := begin(ctx, "put", path)
	err := s.Store.Put(ctx, path, value)
	End(span, err)
	return err
}

func (s credentials) Get(ctx context.Context, path credhub.Path) (json.RawMessage, error) {
	ctx, span := begin(ctx, "get", path)
	stored, err := s.Store.Get(ctx, path)
	if errors.Is(err, credhub.ErrNotFound) { // an answer like any other
		span.SetAttributes(attribute.String("chandler.outcome", "absent"))
		span.End()
		return stored, err
	}
	End(span, err)
	return stored, err
}

func (s credentials) Delete(ctx context.Context, path credhub.Path) error {
	ctx, span := begin(ctx, "delete", path)
	err := s.Store.Delete(ctx, path)
	End(span, err)
	return err
}
