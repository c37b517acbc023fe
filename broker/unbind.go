package broker

import (
	"context"

	"github.com/chandler-broker/chandler/broker/store"
)

// Unbind revokes a credential
// (DELETE /v2/service_instances/:instance_id/service_bindings/:binding_id). It
// cancels a bind that is in progress. If the platform has to poll, Unbind returns the
// operation's ID.
func (b *Broker) Unbind(ctx context.Context, instanceID, bindingID string, async bool) (operation string, err error) {
	var op store.Operation
	var first store.Batch
	instance := store.Read(ctx, &first, b.Store.InstanceForShare, instanceID)
	binding := store.Read(ctx, &first, b.Store.BindingForUpdate, bindingID)
	active := store.Read(ctx, &first, b.Store.UnfinishedOperations, instanceID)
	err = b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		if instance.Err != nil || !visible(ctx, instance.Value) {
			return fail(Gone, "there is no such instance")
		}
		have, active := binding.Value, active.Value
		if binding.Err != nil {
			have, active, err = readAfterCreate(ctx, b, tx, instanceID, bindingID, b.Store.BindingForUpdate)
		}
		if store.NotFound(err) || err == nil && have.InstanceID != instanceID {
			return fail(Gone, "there is no such binding")
		} else if err != nil {
			return err
		}
		op, err = b.acceptUnbind(ctx, tx, instance.Value, active, bindingID, async)
		return err
	})
	if err != nil {
		return "", stateError("accept the unbind", err)
	}
	return b.await(ctx, op, async, false)
}

func (b *Broker) acceptUnbind(ctx context.Context, tx *store.Tx, instance store.Instance, active []store.Operation, bindingID string, async bool) (store.Operation, error) {
	var none store.Operation
	plan, err := b.planOf(instance)
	if err != nil {
		return none, err
	}
	if plan.RequiresAsync && !async {
		return none, fail(AsyncRequired, "plan %q requires asynchronous operations; repeat the request with accepts_incomplete=true", plan.Name)
	}
	op := store.On(active, bindingID)
	switch {
	case op != nil && op.Kind == store.Unbind:
		return *op, nil
	case isBusy(active):
		return none, fail(Concurrency, "an operation on the instance is in progress; repeat the request when it has ended")
	case op != nil:
		if err := b.Engine.Preempt(ctx, tx, *op); err != nil {
			return none, err
		}
	}
	return b.accept(ctx, tx, store.Unbind, instance, bindingID)
}
