package tracing

import (
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/attribute"

	"github.com/chandler-broker/chandler/credhub"
)

// Credentials returns the store with a span for each call.
func Credentials(s credhub.Store) credhub.Store { return credentials{s} }

// Delivery returns the delivery with a span for each delivery and withdrawal.
func Delivery(name string, d credhub.Delivery) credhub.Delivery { return delivery{d, name} }

type delivery struct {
	credhub.Delivery
	name string
}

func (d delivery) call(ctx context.Context, verb string, r credhub.Reader, call func(context.Context) error) error {
	return Run(ctx, "delivery "+verb, call, attribute.String("chandler.delivery", d.name),
		attribute.String("chandler.instance.id", r.InstanceID), attribute.String("chandler.binding.id", r.BindingID))
}

func (d delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	return d.call(ctx, "deliver", r, func(ctx context.Context) error { return d.Delivery.Deliver(ctx, r, value) })
}

func (d delivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	return d.call(ctx, "withdraw", r, func(ctx context.Context) error { return d.Delivery.Withdraw(ctx, r) })
}

type credentials struct{ credhub.Store }

func (credentials) call(ctx context.Context, verb string, path credhub.Path, call func(context.Context) error) error {
	return Run(ctx, "credentials "+verb, call, attribute.String("chandler.credential.path", path.String()))
}

func (s credentials) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (stored json.RawMessage, err error) {
	err = s.call(ctx, "ensure", path, func(ctx context.Context) error { stored, err = s.Store.Ensure(ctx, path, value); return err })
	return stored, err
}

func (s credentials) Change(ctx context.Context, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	return s.call(ctx, "change", path, func(ctx context.Context) error { return s.Store.Change(ctx, path, change) })
}

func (s credentials) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	return s.call(ctx, "put", path, func(ctx context.Context) error { return s.Store.Put(ctx, path, value) })
}

func (s credentials) Get(ctx context.Context, path credhub.Path) (stored json.RawMessage, err error) {
	err = s.call(ctx, "get", path, func(ctx context.Context) error { stored, err = s.Store.Get(ctx, path); return err })
	return stored, err
}

func (s credentials) Delete(ctx context.Context, path credhub.Path) error {
	return s.call(ctx, "delete", path, func(ctx context.Context) error { return s.Store.Delete(ctx, path) })
}
