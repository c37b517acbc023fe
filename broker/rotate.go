package broker

import (
	"context"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/store"
)

// Rotate makes a credential that replaces another binding's, with the same
// parameters; both work until the predecessor is unbound (OSB, "Binding
// Rotation").
func (b *Broker) Rotate(ctx context.Context, instanceID, bindingID string, r Rotation, async bool) (domain.Binding, error) {
	return b.bind(ctx, async, func(ctx context.Context, db store.DBTX) (store.Binding, error) {
		old, err := b.predecessor(ctx, db, instanceID, bindingID, r.PredecessorID)
		if err != nil {
			return old, err
		}
		if r.ServiceID != "" && r.ServiceID != old.ServiceID {
			return old, fail(Invalid, "service_id: the predecessor is of another service")
		}
		if r.PlanID != "" && r.PlanID != old.PlanID { // the instance's plan may have changed since
			instance, err := b.Store.Instance(ctx, db, instanceID)
			if err != nil {
				return old, err
			}
			if instance.PlanID != r.PlanID {
				return old, fail(Invalid, "plan_id: neither the instance nor the predecessor is on this plan")
			}
			old.PlanID = r.PlanID
		}
		if plan, err := b.plan(old.ServiceID, old.PlanID); err != nil {
			return old, err
		} else if !plan.Rotatable {
			return old, fail(Invalid, "predecessor_binding_id: bindings of plan %q cannot be rotated", plan.Name)
		}
		old.ID, old.PredecessorID = bindingID, r.PredecessorID
		if len(r.RawContext) > 0 {
			if old.Context, err = object(r.RawContext); err != nil {
				return old, fail(Invalid, "context: must be a JSON object")
			}
		}
		return old, nil
	})
}

// predecessor returns the binding that a rotation replaces. Where the
// rotation was done and its predecessor deleted since, the successor itself
// tells what was asked for.
func (b *Broker) predecessor(ctx context.Context, db store.DBTX, instanceID, bindingID, predecessorID string) (store.Binding, error) {
	mine := func(old store.Binding) bool {
		return old.InstanceID == instanceID && old.Platform == CallerFrom(ctx).Platform && (old.Status == store.Ready || old.Status == store.Expired)
	}
	old, err := b.Store.Binding(ctx, db, predecessorID)
	if err == nil && mine(old) { // an expired one still tells what its successor shall be
		return old, nil
	} else if err != nil && !store.NotFound(err) {
		return old, err
	}
	successor, err := b.Store.Binding(ctx, db, bindingID)
	if err == nil && mine(successor) && successor.PredecessorID == predecessorID {
		return successor, nil
	} else if err != nil && !store.NotFound(err) {
		return old, err
	}
	return old, fail(Invalid, "predecessor_binding_id: the instance has no live binding with this id")
}
