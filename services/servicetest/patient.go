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

// Verbs calls a backend's verbs with what they need, for a backend's own tests.
type Verbs[P, I, B any] struct {
	backend services.Backend[P, I, B]
	call    func(context.Context, func(context.Context) error) error
}

// Once calls each verb once.
func Once[P, I, B any](b services.Backend[P, I, B]) Verbs[P, I, B] {
	return Verbs[P, I, B]{b, func(ctx context.Context, verb func(context.Context) error) error { return verb(ctx) }}
}

// Patient calls each verb as the engine does: ToTheEnd.
func Patient[P, I, B any](b services.Backend[P, I, B]) Verbs[P, I, B] {
	return Verbs[P, I, B]{b, ToTheEnd}
}

// Provision calls Provision.
func (v Verbs[P, I, B]) Provision(ctx context.Context, inst services.Instance[P, I]) error {
	return v.call(ctx, func(ctx context.Context) error {
		_, err := v.backend.Provision(ctx, services.ProvisionRequest[P, I]{Instance: inst})
		return err
	})
}

// Update calls Update.
func (v Verbs[P, I, B]) Update(ctx context.Context, prev, next services.Instance[P, I]) error {
	return v.call(ctx, func(ctx context.Context) error {
		_, err := v.backend.Update(ctx, services.UpdateRequest[P, I]{Previous: prev, Instance: next})
		return err
	})
}

// Deprovision calls Deprovision.
func (v Verbs[P, I, B]) Deprovision(ctx context.Context, inst services.Instance[P, I]) error {
	return v.call(ctx, func(ctx context.Context) error {
		_, err := v.backend.Deprovision(ctx, services.DeprovisionRequest[P, I]{Instance: inst})
		return err
	})
}

// Bind calls Bind.
func (v Verbs[P, I, B]) Bind(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) (c services.Credentials, err error) {
	err = v.call(ctx, func(ctx context.Context) error {
		result, err := v.backend.Bind(ctx, services.BindRequest[P, I, B]{Instance: inst, Binding: b})
		c = result.Credentials
		return err
	})
	return c, err
}

// Unbind calls Unbind.
func (v Verbs[P, I, B]) Unbind(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) error {
	return v.call(ctx, func(ctx context.Context) error {
		_, err := v.backend.Unbind(ctx, services.UnbindRequest[P, I, B]{Instance: inst, Binding: b})
		return err
	})
}

// Verify calls Verify of a services.Verifier.
func (v Verbs[P, I, B]) Verify(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) error {
	_, err := v.backend.(services.Verifier[P, I, B]).Verify(ctx, services.VerifyRequest[P, I, B]{Instance: inst, Binding: b})
	return err
}

// Reconcile calls Reconcile of a services.Reconciler and returns the conditions by
// Instance.ID, with what went wrong anywhere.
func (v Verbs[P, I, B]) Reconcile(ctx context.Context, plans []P, instances []services.Instance[P, I]) (map[string]services.Condition, error) {
	result, err := v.backend.(services.Reconciler[P, I]).Reconcile(ctx, services.ReconcileRequest[P, I]{Plans: plans, Instances: instances})
	conditions, faults := conditions(result)
	return conditions, errors.Join(err, faults)
}

// conditions are those of a result by Instance.ID, and what went wrong.
func conditions(result services.ReconcileResult) (map[string]services.Condition, error) {
	found, faults := map[string]services.Condition{}, []error(nil)
	for id, r := range result.Instances {
		faults = append(faults, r.Err)
		if r.Condition.Message != "" {
			found[id] = r.Condition
		}
	}
	return found, errors.Join(faults...)
}
