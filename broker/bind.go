package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Bind makes a credential
// (PUT /v2/service_instances/:instance_id/service_bindings/:binding_id).
func (b *Broker) Bind(ctx context.Context, instanceID, bindingID string, d domain.BindDetails, async bool) (Binding, error) {
	want, err := wantedBinding(ctx, instanceID, bindingID, d)
	if err != nil {
		return Binding{}, err
	}
	if _, err := b.plan(d.ServiceID, d.PlanID); err != nil {
		return Binding{}, err
	}
	return b.bind(ctx, want, async)
}

// bindTries is how often a bind starts over because another one with the same ID was
// accepted at the same moment.
const bindTries = 3

func (b *Broker) bind(ctx context.Context, want store.Binding, async bool) (_ Binding, err error) {
	defer func() { addQuotes(&err, want.Parameters) }()
	var op *store.Operation
	var have *store.Binding
	for range bindTries {
		if op, have, err = b.acceptBind(ctx, want, async); !store.IsStale(err) {
			break
		}
	}
	if err != nil {
		return Binding{}, stateError("accept the bind", err)
	}
	exists := have != nil
	if op == nil {
		b.verify(ctx, *have)
		return b.answer(ctx, *have, exists, nil)
	}
	pending, err := b.await(ctx, *op, async, exists)
	if err != nil || pending != "" {
		return Binding{OperationData: pending}, err
	}
	if ended, ok := b.Engine.Ended(op.ID); ok && ended.Credentials != nil {
		return b.answer(ctx, ended.Binding, exists, ended.Credentials)
	}
	made, err := b.Store.Binding(ctx, b.Store.Pool, want.ID)
	if store.NotFound(err) {
		return Binding{}, fail(Concurrency, "the binding was deleted meanwhile; repeat the request")
	} else if err != nil {
		return Binding{}, stateError("read the binding", err)
	}
	return b.answer(ctx, made, exists, nil)
}

// verifyTime is how long an answer waits for credentials to be verified.
const verifyTime = 2 * time.Second

// verify repairs credentials that the application broke, before they are returned
// again. If it fails, the request does not: the credentials are correct, and the next
// round over all bindings verifies them.
func (b *Broker) verify(ctx context.Context, have store.Binding) {
	plan, ok := b.Catalog.Plan(have.ServiceID, have.PlanID)
	if !ok {
		return
	}
	if d, err := b.anyDriver(plan); err != nil || d.Verify == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	instance, err := b.Store.Instance(ctx, b.Store.Pool, have.InstanceID)
	if err == nil {
		err = b.Engine.Verify(ctx, instance, have)
	}
	if err != nil {
		b.Logger.WarnContext(ctx, "credentials could not be verified", "instance_id", have.InstanceID, "binding_id", have.ID, "error", err.Error())
	}
}

// wantedBinding makes the row of a request.
func wantedBinding(ctx context.Context, instanceID, bindingID string, d domain.BindDetails) (store.Binding, error) {
	want := store.Binding{
		ID: bindingID, InstanceID: instanceID, Platform: CallerFrom(ctx).Platform,
		ServiceID: d.ServiceID, PlanID: d.PlanID, AppID: d.AppGUID,
	}
	resource := domain.BindResource{}
	if d.BindResource != nil {
		resource = *d.BindResource
	}
	want.AppID = cmp.Or(want.AppID, resource.AppGuid)
	resource.AppGuid = "" // requests may have it in either place
	var err error
	if want.BindResource, err = json.Marshal(resource); err != nil {
		return want, internal("encode bind_resource", err)
	}
	if want.Parameters, err = object("parameters", d.RawParameters); err != nil {
		return want, err
	}
	want.Context, err = object("context", d.RawContext)
	return want, err
}

// acceptBind records the binding with its operation. If the binding exists, acceptBind
// returns it, and its operation unless it is ready.
func (b *Broker) acceptBind(ctx context.Context, want store.Binding, async bool) (op *store.Operation, have *store.Binding, err error) {
	var first store.Batch
	instance := store.Read(ctx, &first, b.Store.InstanceForBind, store.InstanceForBindParams{ID: want.InstanceID, BindingID: want.ID})
	// From here on, and not only when the row is inserted: an unbind that arrives meanwhile must
	// wait, or it would answer that there is no such binding, and this bind would then commit.
	if err := first.Collect(func(db store.DBTX) error { return b.Store.AwaitCreate(ctx, db, want.ID) }); err != nil {
		return nil, nil, err
	}
	found := store.Read(ctx, &first, b.Store.Binding, want.ID)
	active := store.Read(ctx, &first, b.Store.UnfinishedOperations, want.InstanceID)
	err = b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		exists := found.Err == nil
		if exists && repeatable(found.Value, want, active.Value) {
			have = &found.Value
			return nil
		}
		if instance.Err != nil { // it does not exist, or is not locked because of the ready binding
			if instance.Value, err = b.Store.InstanceForShare(ctx, tx, want.InstanceID); store.NotFound(err) {
				return fail(NotFound, "there is no such instance")
			} else if err != nil {
				return err
			}
			if active.Value, err = b.Store.UnfinishedOperations(ctx, tx, want.InstanceID); err != nil {
				return err
			}
		}
		plan, err := b.bindable(ctx, instance.Value, active.Value, want, async)
		if err != nil {
			return err
		}
		want.ExpiresAt, want.RenewBefore = bindingTerm(plan)
		if want.Delivery, err = b.deliverable(plan, want); err != nil {
			return err
		}
		if exists {
			if op, have, err = b.existingBinding(ctx, tx, want); err != nil || have != nil {
				return err
			}
		}
		if err := tx.Last(func(db store.DBTX) error { return b.insertBinding(ctx, db, instance.Value, want) }); err != nil {
			return err
		}
		accepted, err := b.accept(ctx, tx, store.Bind, instance.Value, want.ID)
		op = &accepted
		return err
	})
	return op, have, err
}

// repeatable reports whether the binding is ready and as the request wants it. The answer
// then changes nothing: some platforms repeat the request at every reconciliation.
func repeatable(have, want store.Binding, active []store.Operation) bool {
	return have.Status == store.Ready && !have.IsExpired(time.Now()) && bindingDifference(have, want) == "" &&
		store.On(active, want.ID) == nil && !isDeleting(active)
}

func (b *Broker) insertBinding(ctx context.Context, db store.DBTX, instance store.Instance, want store.Binding) error {
	return b.Store.InsertBinding(ctx, db, store.InsertBindingParams{
		ID: want.ID, SafeName: services.BindingName(instance.ResourceKey(), want.ID),
		InstanceID: want.InstanceID, Platform: want.Platform, ServiceID: want.ServiceID, PlanID: want.PlanID,
		AppID: want.AppID, BindResource: want.BindResource, Context: want.Context, Parameters: want.Parameters,
		PredecessorID: want.PredecessorID, ExpiresAt: want.ExpiresAt, RenewBefore: want.RenewBefore, Delivery: want.Delivery,
	})
}

// bindable returns the plan of an instance, which is locked, or why it cannot be bound.
func (b *Broker) bindable(ctx context.Context, instance store.Instance, active []store.Operation, want store.Binding, async bool) (*catalog.Plan, error) {
	if !visible(ctx, instance) || instance.Status == store.CreateFailed {
		return nil, fail(NotFound, "there is no such instance")
	}
	plan, err := b.planOf(instance)
	if err != nil {
		return nil, err
	}
	switch {
	case instance.ServiceID != want.ServiceID:
		return nil, fail(Invalid, "service_id: the instance is of another service")
	case isBusy(active):
		return nil, fail(Concurrency, "an operation on the instance is in progress; repeat the request when it has ended")
	case instance.Status != store.Ready:
		return nil, fail(Unsupported, "the instance is not usable: deleting it failed half-way; delete it again")
	case instance.PlanID != want.PlanID && want.PredecessorID == "":
		return nil, fail(Invalid, "plan_id: the instance is on plan %q", plan.Name)
	case !plan.Bindable:
		return nil, fail(Invalid, "instances of plan %q cannot be bound", plan.Name)
	case plan.RequiresApp && want.AppID == "":
		return nil, fail(RequiresApp, "plan %q can be bound to an application only, not used by a service key", plan.Name)
	case plan.RequiresAsync && !async:
		return nil, fail(AsyncRequired, "plan %q requires asynchronous operations; repeat the request with accepts_incomplete=true", plan.Name)
	}
	return plan, b.checkBinding(ctx, plan, want)
}

func (b *Broker) checkBinding(ctx context.Context, plan *catalog.Plan, want store.Binding) error {
	if err := plan.CheckBind(want.Parameters); err != nil {
		return fail(Invalid, "%s", err)
	}
	driver, err := b.anyDriver(plan)
	if err != nil {
		return err
	}
	if _, err := driver.CheckBinding(ctx, want.Parameters); err != nil {
		return rejection(err)
	}
	return nil
}

// existingBinding decides about a bind under an ID that is in use. It returns the binding,
// with its operation unless it is ready; nil if it deleted the row of a failed bind.
func (b *Broker) existingBinding(ctx context.Context, tx *store.Tx, want store.Binding) (*store.Operation, *store.Binding, error) {
	have, err := b.Store.BindingForUpdate(ctx, tx, want.ID)
	if store.NotFound(err) { // its client may have deleted it, and no longer waits for this request
		return nil, nil, fail(Concurrency, "the binding with this id has just been deleted or replaced; repeat the request")
	} else if err != nil {
		return nil, nil, err
	}
	if have.Platform != want.Platform || have.InstanceID != want.InstanceID {
		return nil, nil, fail(Conflict, "the binding id is in use")
	}
	// Read under the row's lock: another bind of the same ID may just have been
	// accepted.
	active, err := b.Store.UnfinishedOperations(ctx, tx, want.InstanceID)
	if err != nil {
		return nil, nil, err
	}
	op := store.On(active, want.ID)
	switch {
	case op != nil && op.Kind == store.Unbind:
		return nil, nil, fail(Concurrency, "the binding is being deleted; wait for that to end")
	case have.Status == store.CreateFailed && op == nil:
		return nil, nil, b.deleteFailedBinding(ctx, tx, have)
	case have.Status == store.DeleteFailed:
		return nil, nil, fail(Conflict, "deleting this binding failed half-way; delete it again")
	case op == nil && have.IsExpired(time.Now()) || op != nil && op.Kind == store.Expire:
		return nil, nil, expiredError(have)
	}
	if difference := bindingDifference(have, want); difference != "" {
		return nil, nil, fail(Conflict, "the binding exists with another %s", difference)
	}
	return op, &have, nil
}

func (b *Broker) deleteFailedBinding(ctx context.Context, tx *store.Tx, have store.Binding) error {
	left, err := b.leftovers(ctx, tx, have.InstanceID, have.ID)
	if err != nil {
		return err
	}
	if left {
		return fail(Conflict, "creating this binding failed and is not cleaned up yet; delete it first")
	}
	return b.Store.DeleteFailedBinding(ctx, tx, have.ID)
}

func bindingDifference(have, want store.Binding) string {
	switch {
	case have.Platform != want.Platform || have.InstanceID != want.InstanceID:
		return "instance"
	case have.ServiceID != want.ServiceID:
		return "service_id"
	case have.PlanID != want.PlanID:
		return "plan_id"
	case have.AppID != want.AppID:
		return "app_guid"
	case !sameJSON(have.BindResource, want.BindResource):
		return "bind_resource"
	case !sameJSON(have.Parameters, want.Parameters):
		return "set of parameters"
	case have.PredecessorID != want.PredecessorID:
		return "predecessor_binding_id"
	}
	return ""
}

// deliverable returns the way in which the wanted binding's credentials get to its
// application, or why they cannot.
func (b *Broker) deliverable(plan *catalog.Plan, want store.Binding) (string, error) {
	way := b.Catalog.Delivery(want.Platform, plan)
	if way == credhub.Inline {
		return way, nil
	}
	d, ok := b.Deliveries[way]
	if !ok {
		return "", internal("deliver the credentials", errors.New("delivery "+way+" is not open"))
	}
	if err := d.Check(operation.Reader(want)); err != nil {
		return "", fail(Invalid, "%s", err)
	}
	return way, nil
}
