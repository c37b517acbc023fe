package broker

import (
	"context"
	"errors"
	"strings"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/store"
)

// Deprovision removes an instance (DELETE /v2/service_instances/:instance_id).
// It halts a create that is in progress. Where the plan keeps what is deleted,
// it revokes the bindings and leaves the rest to the operator and to time. Which service and plan the request
// names does not matter: what is recorded is deleted.
func (b *Broker) Deprovision(ctx context.Context, instanceID string, _ domain.DeprovisionDetails, async bool) (domain.DeprovisionServiceSpec, error) {
	var spec domain.DeprovisionServiceSpec
	var op store.Operation
	var first store.Batch
	instance := store.Read(&first, func(db store.DBTX) (store.Instance, error) { return b.Store.InstanceForUpdate(ctx, db, instanceID) })
	active := b.readActive(ctx, &first, instanceID)
	bindings := store.Read(&first, func(db store.DBTX) ([]store.Binding, error) { return b.Store.BindingsOfInstance(ctx, db, instanceID) })
	err := b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		have, u := instance.Value, activeOf(active.Value)
		if instance.Err != nil {
			have, u, err = readAfterCreate(ctx, b, tx, instanceID, instanceID, b.Store.InstanceForUpdate)
			if err == nil {
				bindings.Value, err = b.Store.BindingsOfInstance(ctx, tx, instanceID)
			}
		}
		if store.NotFound(err) || err == nil && !visible(ctx, have) {
			return fail(Gone, "there is no such instance")
		} else if err != nil {
			return err
		}
		op, err = b.acceptDeprovision(ctx, tx, have, u, bindings.Value, async)
		return err
	})
	if err != nil {
		return spec, stateError("accept the deprovision", err)
	}
	err = b.await(ctx, op, async, false)
	if errors.Is(err, errPending) {
		spec.IsAsync, spec.OperationData = true, op.ID
		return spec, nil
	}
	return spec, err
}

func (b *Broker) acceptDeprovision(ctx context.Context, tx pgx.Tx, have store.Instance, u activeOperations, bindings []store.Binding, async bool) (store.Operation, error) {
	var none store.Operation
	plan, err := b.planOf(have)
	if err != nil {
		return none, err
	}
	if plan.RequiresAsync && !async {
		return none, fail(AsyncRequired, "plan %q takes long; repeat the request with accepts_incomplete=true", plan.Name)
	}
	if u.instance != nil && isDeprovision(u.instance.Kind) {
		return *u.instance, nil
	}
	if u.instance != nil && u.instance.Kind == store.Update || len(u.bindings) > 0 {
		return none, fail(Concurrency, "another operation on this instance is in progress; repeat the request when it has ended")
	}
	if !plan.Cascade {
		if err := refuseBound(bindings); err != nil {
			return none, err
		}
	}
	if u.instance != nil {
		if err := b.Engine.Preempt(ctx, tx, *u.instance); err != nil {
			return none, err
		}
	}
	if plan.KeepDeleted > 0 && have.Status == store.Ready {
		return b.accept(ctx, tx, store.SoftDelete, have, "")
	}
	return b.accept(ctx, tx, store.Deprovision, have, "")
}

// refuseBound refuses to pull an instance away from under applications.
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
