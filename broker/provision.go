package broker

import (
	"context"
	"encoding/json"
	"errors"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Provision makes an instance (PUT /v2/service_instances/:instance_id).
func (b *Broker) Provision(ctx context.Context, instanceID string, d domain.ProvisionDetails, async bool) (spec domain.ProvisionedServiceSpec, err error) {
	defer func() { addQuotes(&err, d.RawParameters) }()
	plan, want, err := b.wantedInstance(ctx, instanceID, d)
	if err != nil {
		return spec, err
	}
	if plan.RequiresAsync && !async {
		return spec, fail(AsyncRequired, "plan %q requires asynchronous operations; repeat the request with accepts_incomplete=true", plan.Name)
	}
	var first store.Batch
	inserted, err := b.insertInstance(ctx, &first, plan, want)
	if err != nil {
		return spec, err
	}
	var op *store.Operation
	err = b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		op, spec.AlreadyExists, err = b.acceptProvision(ctx, tx, plan, want, inserted.Value == 1)
		return err
	})
	if err != nil {
		return spec, stateError("accept the provision", err)
	}
	spec.DashboardURL = plan.Dashboard(instanceID)
	if op == nil {
		return spec, nil
	}
	spec.OperationData, err = b.await(ctx, *op, async, spec.AlreadyExists)
	if spec.OperationData != "" {
		spec.IsAsync, spec.AlreadyExists = true, false
	}
	return spec, err
}

// wantedInstance checks a request and makes the row of it.
func (b *Broker) wantedInstance(ctx context.Context, instanceID string, d domain.ProvisionDetails) (*catalog.Plan, store.Instance, error) {
	var none store.Instance
	plan, err := b.plan(d.ServiceID, d.PlanID)
	if err != nil {
		return nil, none, err
	}
	version, err := maintenance(plan, d.MaintenanceInfo, plan.MaintenanceVersion)
	if err != nil {
		return nil, none, err
	}
	parameters, err := object("parameters", d.RawParameters)
	if err != nil {
		return nil, none, err
	}
	platformContext, err := object("context", d.RawContext)
	if err != nil {
		return nil, none, err
	}
	if err := plan.CheckCreate(parameters); err != nil {
		return nil, none, fail(Invalid, "%s", err)
	}
	parameters, own, err := takeSource(plan, parameters)
	if err != nil {
		return nil, none, internal("take out the broker's own parameters", err)
	}
	if err := b.checkInstance(ctx, plan, instanceID, parameters); err != nil {
		return nil, none, err
	}
	return plan, store.Instance{
		ID: instanceID, Platform: CallerFrom(ctx).Platform, ServiceID: d.ServiceID, PlanID: d.PlanID,
		OrganizationID: d.OrganizationGUID, SpaceID: d.SpaceGUID,
		Context: platformContext, Parameters: parameters, MaintenanceVersion: version, Namespace: namespace(platformContext),
		Backend: plan.Backend, BackendType: plan.BackendType, Source: own,
	}, nil
}

func (b *Broker) checkInstance(ctx context.Context, plan *catalog.Plan, instanceID string, parameters json.RawMessage) error {
	driver, err := b.anyDriver(plan)
	if err != nil {
		return err
	}
	if _, err := driver.CheckInstance(ctx, services.RawInstance{ID: instanceID, Plan: plan.Config, Params: parameters}); err != nil {
		return rejection(err)
	}
	return nil
}

// maintenance returns the version that the platform sent (OSB, "Maintenance Info"), which
// must be the plan's, or current if it sent none. Generated clients always send the
// object, even if it is empty.
func maintenance(plan *catalog.Plan, sent *domain.MaintenanceInfo, current string) (string, error) {
	switch {
	case sent == nil || sent.Version == "":
		return current, nil
	case plan.MaintenanceVersion == "":
		return "", fail(MaintenanceInfoConflict, "maintenance_info: plan %q has none; fetch the catalog again", plan.Name)
	case sent.Version != plan.MaintenanceVersion:
		return "", fail(MaintenanceInfoConflict, "maintenance_info.version: plan %q is on %s; fetch the catalog again", plan.Name, plan.MaintenanceVersion)
	}
	return plan.MaintenanceVersion, nil
}

// insertInstance adds to a batch the insertion of the instance's row, unless its ID is in use.
func (b *Broker) insertInstance(ctx context.Context, first *store.Batch, plan *catalog.Plan, want store.Instance) (*store.Result[int64], error) {
	fresh, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return store.Read(ctx, first, b.Store.InsertInstance, store.InsertInstanceParams{
		ID: want.ID, SafeName: services.InstanceName(want.ID), Platform: want.Platform, ServiceID: want.ServiceID, PlanID: want.PlanID,
		OrganizationID: want.OrganizationID, SpaceID: want.SpaceID, Context: want.Context,
		Parameters: want.Parameters, MaintenanceVersion: want.MaintenanceVersion, Namespace: want.Namespace, Fresh: fresh.String(),
		Backend: plan.Backend, BackendType: plan.BackendType, Source: want.Source,
	}), nil
}

// acceptProvision records the operation of an instance that was inserted. If the instance
// exists, acceptProvision returns its operation, or nil if there is nothing to do.
func (b *Broker) acceptProvision(ctx context.Context, tx *store.Tx, plan *catalog.Plan, want store.Instance, inserted bool) (op *store.Operation, exists bool, err error) {
	if !inserted {
		op, renewed, err := b.existingInstance(ctx, tx, plan, want)
		if err != nil || !renewed {
			return op, true, err
		}
	}
	if err := b.checkQuotas(ctx, tx, want, nil); err != nil {
		return nil, false, err
	}
	f, err := b.findFill(ctx, tx, plan, want)
	if err != nil {
		return nil, false, err
	}
	if want.Server, err = b.place(ctx, tx, plan, want.ID, f); err != nil {
		return nil, false, err
	}
	copyID, err := b.recordSource(ctx, tx, want, f)
	if err != nil {
		return nil, false, err
	}
	accepted, err := b.acceptWaiting(ctx, tx, store.Provision, want, copyID)
	return &accepted, false, err
}

// findFill finds what a new instance is to be filled from; nil: it is to be empty.
func (b *Broker) findFill(ctx context.Context, tx *store.Tx, plan *catalog.Plan, want store.Instance) (*fill, error) {
	from, err := parseSource(want.Source)
	if err != nil || from == nil {
		return nil, err
	}
	f, err := b.findSource(ctx, tx, plan, want, *from)
	return &f, err
}

// recordSource records the copy that fills a new instance, and returns its ID; "" if the instance is
// to be empty.
func (b *Broker) recordSource(ctx context.Context, tx *store.Tx, want store.Instance, f *fill) (copyID string, err error) {
	if f == nil {
		return "", nil
	}
	// The row tells whether its resource has a name of its own.
	row, err := b.Store.InstanceForUpdate(ctx, tx, want.ID)
	if err != nil {
		return "", err
	}
	row.Server = want.Server
	return b.recordFill(ctx, tx, *f, row)
}

// place chooses the server of a new instance, whose row exists: the one that holds what it is to be
// filled from, if one does.
func (b *Broker) place(ctx context.Context, tx *store.Tx, plan *catalog.Plan, instanceID string, f *fill) (server string, err error) {
	if f != nil && f.held {
		server = f.server()
		err = b.Placement.Accept(ctx, tx, plan, instanceID, server)
	} else {
		server, err = b.Placement.Choose(ctx, tx, plan, instanceID)
	}
	if err != nil || server == catalog.DefaultServer {
		return server, capacityError(err)
	}
	return server, b.Store.SetInstanceServer(ctx, tx, store.SetInstanceServerParams{ID: instanceID, Server: server})
}

// capacityError makes a full server an error for the user.
func capacityError(err error) error {
	full, ok := errors.AsType[*placement.FullError](err)
	switch {
	case !ok:
		return err
	case full.Unreachable:
		return fail(Unavailable, "%s", full)
	}
	return fail(Unsupported, "%s", full)
}

// existingInstance decides about a provision under an ID that is in use. It returns the
// instance's operation; renewed says that it renewed the row of a failed provision for
// another one.
func (b *Broker) existingInstance(ctx context.Context, tx *store.Tx, plan *catalog.Plan, want store.Instance) (op *store.Operation, renewed bool, err error) {
	have, err := b.Store.InstanceForUpdate(ctx, tx, want.ID)
	if store.NotFound(err) {
		return nil, false, fail(Concurrency, "an instance with this id was being deleted; repeat the request")
	} else if err != nil {
		return nil, false, err
	}
	if !visible(ctx, have) {
		return nil, false, fail(Conflict, "the instance id is in use")
	}
	active, err := b.Store.UnfinishedOperations(ctx, tx, want.ID)
	if err != nil {
		return nil, false, err
	}
	op = store.On(active, "")
	switch {
	case isDeleting(active):
		return nil, false, fail(Concurrency, "the instance is being deleted; wait for that to end")
	case have.Status == store.CreateFailed && op == nil:
		return nil, true, b.renewInstance(ctx, tx, plan, want)
	case have.Status == store.DeleteFailed:
		return nil, false, fail(Conflict, "deleting this instance failed half-way; delete it again")
	}
	if difference := instanceDifference(have, want); difference != "" {
		return nil, false, fail(Conflict, "the instance exists with another %s", difference)
	}
	if op != nil && op.Kind != store.Provision {
		op = nil
	}
	return op, false, nil
}

func (b *Broker) renewInstance(ctx context.Context, tx *store.Tx, plan *catalog.Plan, want store.Instance) error {
	left, err := b.leftovers(ctx, tx, want.ID, "")
	if err != nil {
		return err
	}
	if left {
		return fail(Conflict, "creating this instance failed and is not cleaned up yet; delete it first")
	}
	return b.Store.RenewInstance(ctx, tx, store.RenewInstanceParams{
		ID: want.ID, ServiceID: want.ServiceID, PlanID: want.PlanID, OrganizationID: want.OrganizationID, SpaceID: want.SpaceID,
		Context: want.Context, Parameters: want.Parameters, MaintenanceVersion: want.MaintenanceVersion, Namespace: want.Namespace,
		Backend: plan.Backend, BackendType: plan.BackendType, Source: want.Source,
	})
}

func instanceDifference(have, want store.Instance) string {
	switch {
	case have.ServiceID != want.ServiceID:
		return "service_id"
	case have.PlanID != want.PlanID:
		return "plan_id"
	case have.OrganizationID != want.OrganizationID:
		return "organization_guid"
	case have.SpaceID != want.SpaceID:
		return "space_guid"
	case !sameJSON(have.Parameters, want.Parameters) || !sameJSON(have.Source, want.Source):
		return "set of parameters"
	}
	return ""
}

// accept has the engine record an operation on an instance or, with an ID, on one of its
// bindings. For an update, i is the instance as it is to become.
func (b *Broker) accept(ctx context.Context, tx *store.Tx, kind store.Kind, i store.Instance, bindingID string) (store.Operation, error) {
	return b.acceptRequest(ctx, tx, i, operation.Request{Kind: kind, BindingID: bindingID})
}

// acceptWaiting is accept for an operation on an instance that waits for a copy; copyID is "" for
// none.
func (b *Broker) acceptWaiting(ctx context.Context, tx *store.Tx, kind store.Kind, i store.Instance, copyID string) (store.Operation, error) {
	return b.acceptRequest(ctx, tx, i, operation.Request{Kind: kind, CopyID: copyID})
}

func (b *Broker) acceptRequest(ctx context.Context, tx *store.Tx, i store.Instance, r operation.Request) (store.Operation, error) {
	caller := CallerFrom(ctx)
	if !isDelete(r.Kind) && caller.Gone != nil && caller.Gone() {
		// A process that was suspended has such requests. Their clients may have deleted
		// meanwhile what this would create, and would never delete it again.
		return store.Operation{}, &Error{Kind: Unavailable, Description: "the client has disconnected", Cause: context.Canceled}
	}
	r.RequestID, r.Originating = caller.RequestID, caller.Originating
	return b.Engine.Accept(ctx, tx, i, r)
}
