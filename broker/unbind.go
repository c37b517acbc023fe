package broker

import (
	"context"
	"errors"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/store"
)

// Unbind revokes a credential
// (DELETE /v2/service_instances/:instance_id/service_bindings/:binding_id). It
// halts a bind that is in progress.
func (b *Broker) Unbind(ctx context.Context, instanceID, bindingID string, _ domain.UnbindDetails, async bool) (domain.UnbindSpec, error) {
	var spec domain.UnbindSpec
	var op store.Operation
	var first store.Batch
	instance := store.Read(&first, func(db store.DBTX) (store.Instance, error) { return b.Store.InstanceForShare(ctx, db, instanceID) })
	binding := store.Read(&first, func(db store.DBTX) (store.Binding, error) { return b.Store.BindingForUpdate(ctx, db, bindingID) })
	active := b.readActive(ctx, &first, instanceID)
	err := b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		if instance.Err != nil || !visible(ctx, instance.Value) {
			return fail(Gone, "there is no such instance")
		}
		have, u := binding.Value, activeOf(active.Value)
		if binding.Err != nil {
			have, u, err = readAfterCreate(ctx, b, tx, instanceID, bindingID, b.Store.BindingForUpdate)
		}
		if store.NotFound(err) || err == nil && have.InstanceID != instanceID {
			return fail(Gone, "there is no such binding")
		} else if err != nil {
			return err
		}
		op, err = b.acceptUnbind(ctx, tx, instance.Value, u, bindingID, async)
		return err
	})
	if err != nil {
		return spec, stateError("accept the unbind", err)
	}
	err = b.await(ctx, op, async, false)
	if errors.Is(err, errPending) {
		spec.IsAsync, spec.OperationData = true, op.ID
		return spec, nil
	}
	return spec, err
}

func (b *Broker) acceptUnbind(ctx context.Context, tx pgx.Tx, instance store.Instance, u activeOperations, bindingID string, async bool) (store.Operation, error) {
	var none store.Operation
	plan, err := b.planOf(instance)
	if err != nil {
		return none, err
	}
	if plan.RequiresAsync && !async {
		return none, fail(AsyncRequired, "plan %q takes long; repeat the request with accepts_incomplete=true", plan.Name)
	}
	op := u.ofBinding(bindingID)
	switch {
	case op != nil && op.Kind == store.Unbind:
		return *op, nil
	case u.instance != nil:
		return none, fail(Concurrency, "an operation on the instance is in progress; repeat the request when it has ended")
	case op != nil:
		if err := b.Engine.Preempt(ctx, tx, *op); err != nil {
			return none, err
		}
	}
	return b.accept(ctx, tx, store.Unbind, instance, bindingID)
}
