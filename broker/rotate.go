package broker

import (
	"context"

	"github.com/chandler-broker/chandler/broker/store"
)

// Rotate makes a credential that replaces another binding's, with the same parameters.
// Both work until the predecessor is unbound (OSB, "Binding Rotation").
func (b *Broker) Rotate(ctx context.Context, instanceID, bindingID string, r Rotation, async bool) (Binding, error) {
	want, err := b.wantedRotation(ctx, instanceID, bindingID, r)
	if err != nil {
		return Binding{}, stateError("read the predecessor", err)
	}
	return b.bind(ctx, want, async)
}

// wantedRotation makes the row of a request from its predecessor's.
func (b *Broker) wantedRotation(ctx context.Context, instanceID, bindingID string, r Rotation) (store.Binding, error) {
	want, err := b.predecessor(ctx, instanceID, bindingID, r.PredecessorID)
	if err != nil {
		return want, err
	}
	if r.ServiceID != "" && r.ServiceID != want.ServiceID {
		return want, fail(Invalid, "service_id: the predecessor is of another service")
	}
	if r.PlanID != "" && r.PlanID != want.PlanID { // the instance's plan may have changed since
		instance, err := b.Store.Instance(ctx, b.Store.Pool, instanceID)
		if err != nil {
			return want, err
		}
		if instance.PlanID != r.PlanID {
			return want, fail(Invalid, "plan_id: neither the instance nor the predecessor is on this plan")
		}
		want.PlanID = r.PlanID
	}
	if plan, err := b.plan(want.ServiceID, want.PlanID); err != nil {
		return want, err
	} else if !plan.Rotatable {
		return want, fail(Invalid, "predecessor_binding_id: bindings of plan %q cannot be rotated", plan.Name)
	}
	want.ID, want.PredecessorID = bindingID, r.PredecessorID
	if len(r.RawContext) > 0 {
		want.Context, err = object("context", r.RawContext)
	}
	return want, err
}

// predecessor returns the binding that a rotation replaces, which may have expired. If
// that was deleted after the rotation, it returns the successor, which has the same
// parameters.
func (b *Broker) predecessor(ctx context.Context, instanceID, bindingID, predecessorID string) (store.Binding, error) {
	for _, id := range []string{predecessorID, bindingID} {
		have, err := b.Store.Binding(ctx, b.Store.Pool, id)
		if err != nil && !store.NotFound(err) {
			return have, err
		}
		mine := have.InstanceID == instanceID && have.Platform == CallerFrom(ctx).Platform && (have.Status == store.Ready || have.Status == store.Expired)
		if mine && (id == predecessorID || have.PredecessorID == predecessorID) {
			return have, nil
		}
	}
	return store.Binding{}, fail(Invalid, "predecessor_binding_id: the instance has no live binding with this id")
}
