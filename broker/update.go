package broker

import (
	"context"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Update changes an instance's plan, parameters, context or maintenance version
// (PATCH /v2/service_instances/:instance_id). Parameters that the request does
// not name keep their values.
func (b *Broker) Update(ctx context.Context, instanceID string, d domain.UpdateDetails, async bool) (spec domain.UpdateServiceSpec, err error) {
	var have store.Instance
	defer func() { addQuotes(&err, d.RawParameters, have.Parameters) }()
	var op *store.Operation
	joined := false
	err = b.Store.InTx(ctx, func(tx *store.Tx) (err error) {
		if have, err = b.updatable(ctx, tx, instanceID, d); err != nil {
			return err
		}
		prev, next, want, backupName, err := b.wantedUpdate(ctx, have, d)
		if err != nil {
			return err
		}
		spec.DashboardURL = next.Dashboard(instanceID)
		if next.RequiresAsync && !async {
			return fail(AsyncRequired, "plan %q requires asynchronous operations; repeat the request with accepts_incomplete=true", next.Name)
		}
		if backupName != "" {
			op, joined, err = b.acceptBackup(ctx, tx, have, want, backupName)
			return err
		}
		op, joined, err = b.acceptUpdate(ctx, tx, have, want, prev, next)
		return err
	})
	if err != nil {
		return spec, stateError("accept the update", err)
	}
	if op == nil {
		return spec, nil
	}
	spec.OperationData, err = b.await(ctx, *op, async, joined)
	spec.IsAsync = spec.OperationData != ""
	return spec, err
}

// updatable locks the instance, and returns an error if it cannot be updated at all.
func (b *Broker) updatable(ctx context.Context, tx *store.Tx, instanceID string, d domain.UpdateDetails) (store.Instance, error) {
	have, err := b.Store.InstanceForUpdate(ctx, tx, instanceID)
	if store.NotFound(err) || err == nil && !visible(ctx, have) {
		return have, fail(NotFound, "there is no such instance")
	} else if err != nil {
		return have, err
	}
	switch {
	case d.ServiceID != have.ServiceID:
		return have, fail(Invalid, "service_id: the instance is of another service, and cannot change to this one")
	case have.Status == store.CreateFailed:
		return have, fail(Unsupported, "creating this instance failed; delete it and create another")
	case have.Status == store.DeleteFailed:
		return have, fail(Unsupported, "deleting this instance failed half-way; delete it again")
	}
	return have, nil
}

// wantedUpdate checks the request against the instance and returns both plans
// and the instance as it is to become. With a backup, nothing else changes.
func (b *Broker) wantedUpdate(ctx context.Context, have store.Instance, d domain.UpdateDetails) (prev, next *catalog.Plan, want store.Instance, backupName string, err error) {
	if prev, err = b.planOf(have); err != nil {
		return nil, nil, want, "", err
	}
	want, next = have, prev
	if d.PlanID != "" && d.PlanID != have.PlanID {
		if next, err = b.plan(have.ServiceID, d.PlanID); err != nil {
			return nil, nil, want, "", err
		}
		if !prev.Updateable {
			return nil, nil, want, "", unsupportedUpdate("plan_id: instances of plan %q cannot change their plan", prev.Name)
		}
		if next.Backend != prev.Backend {
			return nil, nil, want, "", unsupportedUpdate("plan_id: plan %q is on another backend than %q; create a new instance instead", next.Name, prev.Name)
		}
		want.PlanID, want.MaintenanceVersion = next.ID, next.MaintenanceVersion
	}
	if want.MaintenanceVersion, err = maintenance(next, d.MaintenanceInfo, want.MaintenanceVersion); err != nil {
		return nil, nil, want, "", err
	}
	if backupName, err = wantedParameters(next, &want, d); err != nil {
		return nil, nil, want, "", err
	}
	if backupName != "" && (prev != next || want.MaintenanceVersion != have.MaintenanceVersion || !sameJSON(want.Parameters, have.Parameters)) {
		return nil, nil, want, "", unsupportedUpdate("parameters.backup: a backup is an update of its own; make the other changes before or after it")
	}
	if next.Service.AllowContextUpdates && len(d.RawContext) > 0 {
		if want.Context, err = object("context", d.RawContext); err != nil {
			return nil, nil, want, "", err
		}
	}
	return prev, next, want, backupName, b.checkUpdate(ctx, prev, next, have, want)
}

// wantedParameters changes the instance's parameters, and returns the name of the backup that the
// update asks for.
func wantedParameters(next *catalog.Plan, want *store.Instance, d domain.UpdateDetails) (backupName string, err error) {
	patch, err := object("parameters", d.RawParameters)
	if err != nil {
		return "", err
	}
	if string(patch) == "{}" {
		return "", nil
	}
	if err := next.CheckUpdate(patch); err != nil {
		return "", fail(Invalid, "%s", err)
	}
	if backupName, patch, err = wantedBackup(next, patch); err != nil {
		return "", internal("take out the broker's own parameters", err)
	}
	want.Parameters, err = merge(want.Parameters, patch)
	return backupName, err
}

func unsupportedUpdate(format string, args ...any) error {
	e := fail(Unsupported, format, args...)
	usable, repeatable := true, false
	e.InstanceUsable, e.UpdateRepeatable = &usable, &repeatable
	return e
}

func (b *Broker) checkUpdate(ctx context.Context, prev, next *catalog.Plan, have, want store.Instance) error {
	driver, err := b.driver(next, have.Server)
	if err != nil {
		return err
	}
	from, to := operation.RawInstance(have, prev), operation.RawInstance(have, next)
	to.Params = want.Parameters
	// CheckUpdate is first: for a parameter that cannot change at all, CheckInstance
	// would make the user try another value.
	_, err = driver.CheckUpdate(ctx, services.RawUpdate{Previous: from, Instance: to})
	if message, ok := services.IsRejected(err); ok {
		return unsupportedUpdate("%s", message)
	} else if err != nil {
		return internal("check the update", err)
	}
	if _, err := driver.CheckInstance(ctx, to); err != nil {
		return rejection(err)
	}
	return nil
}

// acceptUpdate records the operation, or joins the same one in progress. It returns none
// if nothing changes for the backend.
func (b *Broker) acceptUpdate(ctx context.Context, tx *store.Tx, have, want store.Instance, prev, next *catalog.Plan) (op *store.Operation, joined bool, err error) {
	active, err := b.Store.UnfinishedOperations(ctx, tx, have.ID)
	if err != nil {
		return nil, false, err
	}
	if op = store.On(active, ""); op != nil && sameUpdate(*op, want) {
		return op, true, nil
	}
	if len(active) > 0 {
		return nil, false, fail(Concurrency, "another operation on this instance is in progress; repeat the request when it has ended")
	}
	broken, err := b.leftovers(ctx, tx, have.ID, "")
	if err != nil {
		return nil, false, err
	}
	if !broken && prev == next && sameJSON(have.Parameters, want.Parameters) && have.MaintenanceVersion == want.MaintenanceVersion {
		return nil, false, b.setContext(ctx, tx, have, want)
	}
	if err := b.checkQuotas(ctx, tx, want, &have); err != nil {
		return nil, false, err
	}
	if err := b.Placement.Fits(ctx, tx, have, prev, next); err != nil {
		return nil, false, capacityError(err)
	}
	// The context changes with the rest: an update that fails changes nothing.
	accepted, err := b.accept(ctx, tx, store.Update, want, "")
	return &accepted, false, err
}

func sameUpdate(op store.Operation, want store.Instance) bool {
	return op.Kind == store.Update && op.PlanID == want.PlanID && op.MaintenanceVersion == want.MaintenanceVersion &&
		sameJSON(op.Parameters, want.Parameters) && sameJSON(op.Context, want.Context)
}

func (b *Broker) setContext(ctx context.Context, tx *store.Tx, have, want store.Instance) error {
	if sameJSON(have.Context, want.Context) {
		return nil
	}
	return b.Store.SetInstanceContext(ctx, tx, store.SetInstanceContextParams{ID: have.ID, Context: want.Context})
}
