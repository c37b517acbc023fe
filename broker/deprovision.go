package broker

import (
	"context"
	"strings"

	"github.com/chandler-broker/chandler/broker/store"
)

// Deprovision removes an instance (DELETE /v2/service_instances/:instance_id). It
// cancels a create that is in progress. If the plan retains deleted instances,
// Deprovision revokes the bindings only. If the platform has to poll, it returns the
// operation's ID.
func (b *Broker) Deprovision(ctx context.Context, instanceID string, async bool) (operation string, err error) {
	var op store.Operation
	var first store.Batch
	instance := store.Read(ctx, &first, b.Store.InstanceForUpdate, instanceID)
	active := store.Read(ctx, &first, b.Store.UnfinishedOperations, instanceID)
	bindings := store.Read(ctx, &first, b.Store.BindingsOfInstance, instanceID)
	err = b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		have, active := instance.Value, active.Value
		if instance.Err != nil {
			have, active, err = readAfterCreate(ctx, b, tx, instanceID, instanceID, b.Store.InstanceForUpdate)
			if err == nil {
				bindings.Value, err = b.Store.BindingsOfInstance(ctx, tx, instanceID)
			}
		}
		if store.NotFound(err) || err == nil && !visible(ctx, have) {
			return fail(Gone, "there is no such instance")
		} else if err != nil {
			return err
		}
		op, err = b.acceptDeprovision(ctx, tx, have, active, bindings.Value, async)
		return err
	})
	if err != nil {
		return "", stateError("accept the deprovision", err)
	}
	return b.await(ctx, op, async, false)
}

func (b *Broker) acceptDeprovision(ctx context.Context, tx *store.Tx, have store.Instance, active []store.Operation, bindings []store.Binding, async bool) (store.Operation, error) {
	var none store.Operation
	plan, err := b.planOf(have)
	if err != nil {
		return none, err
	}
	if plan.RequiresAsync && !async {
		return none, fail(AsyncRequired, "plan %q requires asynchronous operations; repeat the request with accepts_incomplete=true", plan.Name)
	}
	op := store.On(active, "")
	if isDeleting(active) {
		return *op, nil
	}
	if op != nil && op.Kind == store.Update && !op.OnlyBacksUp() || onBindings(active) {
		return none, fail(Concurrency, "another operation on this instance is in progress; repeat the request when it has ended")
	}
	if !plan.Cascade {
		if err := refuseBound(bindings); err != nil {
			return none, err
		}
	}
	if op != nil {
		if err := b.Engine.Preempt(ctx, tx, *op); err != nil {
			return none, err
		}
	}
	recovering := op != nil && op.Kind == store.Recover // its data is not there
	if plan.KeepDeleted > 0 && have.Status == store.Ready && !recovering {
		return b.accept(ctx, tx, store.SoftDelete, have, "")
	}
	return b.accept(ctx, tx, store.Deprovision, have, "")
}

// refuseBound refuses to delete an instance that applications are bound to.
func refuseBound(bindings []store.Binding) error {
	var live []string
	for _, binding := range bindings {
		if binding.Status != store.CreateFailed {
			live = append(live, binding.ID)
		}
	}
	if len(live) == 0 {
		return nil
	}
	const most = 20
	list := strings.Join(live[:min(len(live), most)], ", ")
	if len(live) > most {
		list += ", …"
	}
	e := fail(Unsupported, "the instance has %d binding(s); delete them first: %s", len(live), list)
	usable := true
	e.InstanceUsable = &usable
	return e
}
