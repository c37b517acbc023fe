package servicetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// ToTheEnd calls a verb again while the backend says NotYet, as the engine does,
// until ctx ends.
func ToTheEnd(ctx context.Context, verb func(context.Context) error) error {
	for {
		err := verb(ctx)
		notYet, ok := errors.AsType[*services.NotYetError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still not done: %w", err)
		case <-time.After(notYet.After):
		}
	}
}

// Patient is the backend as the engine calls it: each verb ToTheEnd.
func Patient[P, I, B any](b services.Backend[P, I, B]) services.Backend[P, I, B] {
	return patient[P, I, B]{b}
}

type patient[P, I, B any] struct{ backend services.Backend[P, I, B] }

// Provision implements services.Backend.
func (p patient[P, I, B]) Provision(ctx context.Context, inst services.Instance[P, I]) error {
	return ToTheEnd(ctx, func(ctx context.Context) error { return p.backend.Provision(ctx, inst) })
}

// Update implements services.Backend.
func (p patient[P, I, B]) Update(ctx context.Context, prev, next services.Instance[P, I]) error {
	return ToTheEnd(ctx, func(ctx context.Context) error { return p.backend.Update(ctx, prev, next) })
}

// Deprovision implements services.Backend.
func (p patient[P, I, B]) Deprovision(ctx context.Context, inst services.Instance[P, I]) error {
	return ToTheEnd(ctx, func(ctx context.Context) error { return p.backend.Deprovision(ctx, inst) })
}

// Bind implements services.Backend.
func (p patient[P, I, B]) Bind(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) (c services.Credentials, err error) {
	err = ToTheEnd(ctx, func(ctx context.Context) error { c, err = p.backend.Bind(ctx, inst, b); return err })
	return c, err
}

// Unbind implements services.Backend.
func (p patient[P, I, B]) Unbind(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) error {
	return ToTheEnd(ctx, func(ctx context.Context) error { return p.backend.Unbind(ctx, inst, b) })
}
