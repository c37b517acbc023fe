package broker

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Bind makes a credential
// (PUT /v2/service_instances/:instance_id/service_bindings/:binding_id).
func (b *Broker) Bind(ctx context.Context, instanceID, bindingID string, d domain.BindDetails, async bool) (domain.Binding, error) {
	want, err := wantedBinding(ctx, instanceID, bindingID, d)
	if err != nil {
		return domain.Binding{}, err
	}
	if _, err := b.plan(d.ServiceID, d.PlanID); err != nil {
		return domain.Binding{}, err
	}
	return b.bind(ctx, async, func(context.Context, store.DBTX) (store.Binding, error) { return want, nil })
}

// bind is Bind and Rotate once it is known where the wanted binding comes from.
func (b *Broker) bind(ctx context.Context, async bool, wanted func(context.Context, store.DBTX) (store.Binding, error)) (_ domain.Binding, err error) {
	// A binding that is there already is answered without a transaction: some
	// platforms repeat the request at every reconcile.
	want, have, err := b.readyBinding(ctx, wanted)
	defer func() { addQuotes(&err, want.Parameters) }()
	if err != nil {
		return domain.Binding{}, stateError("look for the binding", err)
	}
	if have != nil {
		b.verify(ctx, *have)
		return b.answer(ctx, *have, true)
	}
	var op *store.Operation
	exists := false
	var first store.Batch
	instance := store.Read(&first, func(db store.DBTX) (store.Instance, error) { return b.Store.InstanceForShare(ctx, db, want.InstanceID) })
	active := b.readActive(ctx, &first, want.InstanceID)
	err = b.Store.InTxWith(ctx, &first, func(tx *store.Tx) (err error) {
		if err := b.bindable(ctx, instance, activeOf(active.Value), want, async); err != nil {
			return err
		}
		op, exists, err = b.acceptBind(ctx, tx, instance.Value, want)
		return err
	})
	if err != nil {
		return domain.Binding{}, stateError("accept the bind", err)
	}
	if op != nil {
		err = b.await(ctx, *op, async, exists)
		if errors.Is(err, errPending) {
			return domain.Binding{IsAsync: true, OperationData: op.ID}, nil
		} else if err != nil {
			return domain.Binding{}, err
		}
		if ended, ok := b.Engine.Ended(op.ID); ok && ended.Credentials != nil {
			return b.answerWith(ctx, ended.Binding, exists, ended.Credentials)
		}
	}
	made, err := b.Store.Binding(ctx, b.Store.Pool, want.ID)
	if store.NotFound(err) {
		return domain.Binding{}, fail(Concurrency, "the binding was deleted meanwhile; repeat the request")
	} else if err != nil {
		return domain.Binding{}, stateError("read the binding", err)
	}
	if op == nil {
		b.verify(ctx, made)
	}
	return b.answer(ctx, made, exists)
}

// verifyTime is how long an answer waits for credentials to be verified.
const verifyTime = 2 * time.Second

// verify repairs credentials that the application broke, before they are returned
// again. A server that does not answer is no reason to fail the request: the
// credentials are right, and the next round over all bindings verifies them.
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

// readyBinding returns the wanted binding, and the one that is there where it is ready
// and the same.
func (b *Broker) readyBinding(ctx context.Context, wanted func(context.Context, store.DBTX) (store.Binding, error)) (store.Binding, *store.Binding, error) {
	want, err := wanted(ctx, b.Store.Pool)
	if err != nil {
		return want, nil, err
	}
	have, err := b.Store.Binding(ctx, b.Store.Pool, want.ID)
	if err != nil && !store.NotFound(err) {
		return want, nil, err
	}
	if err != nil || have.Status != store.Ready || have.IsExpired(time.Now()) || bindingDifference(have, want) != "" {
		return want, nil, nil
	}
	u, err := b.activeOperations(ctx, b.Store.Pool, want.InstanceID)
	if err != nil || u.ofBinding(want.ID) != nil || u.instance != nil && isDeprovision(u.instance.Kind) {
		return want, nil, err
	}
	return want, &have, nil
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
	if want.AppID == "" {
		want.AppID = resource.AppGuid
	}
	resource.AppGuid = "" // it may come from either place
	var err error
	if want.BindResource, err = json.Marshal(resource); err != nil {
		return want, internal("encode bind_resource", err)
	}
	if want.Parameters, err = object(d.RawParameters); err != nil {
		return want, fail(Invalid, "parameters: must be a JSON object")
	}
	if want.Context, err = object(d.RawContext); err != nil {
		return want, fail(Invalid, "context: must be a JSON object")
	}
	return want, nil
}

// acceptBind records the binding with its operation, or finds the one that is
// there; exists says which, and no operation means that it is ready.
func (b *Broker) acceptBind(ctx context.Context, tx pgx.Tx, instance store.Instance, want store.Binding) (op *store.Operation, exists bool, err error) {
	want.ExpiresAt, want.RenewBefore, err = b.bindingTerm(instance)
	if err != nil {
		return nil, false, err
	}
	if want.Delivery, err = b.deliverable(instance, want); err != nil {
		return nil, false, err
	}
	inserted, err := b.Store.InsertBinding(ctx, tx, store.InsertBindingParams{
		ID: want.ID, SafeName: services.BindingName(instance.ResourceKey(), want.ID),
		InstanceID: want.InstanceID, Platform: want.Platform, ServiceID: want.ServiceID, PlanID: want.PlanID,
		AppID: want.AppID, BindResource: want.BindResource, Context: want.Context, Parameters: want.Parameters,
		PredecessorID: want.PredecessorID, ExpiresAt: want.ExpiresAt, RenewBefore: want.RenewBefore, Delivery: want.Delivery,
	})
	if err != nil {
		return nil, false, err
	}
	if inserted == 0 {
		op, again, err := b.existingBinding(ctx, tx, want)
		if err != nil || !again {
			return op, true, err
		}
	}
	accepted, err := b.accept(ctx, tx, store.Bind, instance, want.ID)
	return &accepted, false, err
}

// bindable says why an instance, which is locked, cannot be bound.
func (b *Broker) bindable(ctx context.Context, found *store.Result[store.Instance], u activeOperations, want store.Binding, async bool) error {
	instance := found.Value
	if found.Err != nil || !visible(ctx, instance) || instance.Status == store.CreateFailed {
		return fail(NotFound, "there is no such instance")
	}
	plan, err := b.planOf(instance)
	if err != nil {
		return err
	}
	switch {
	case instance.ServiceID != want.ServiceID:
		return fail(Invalid, "service_id: the instance is of another service")
	case u.instance != nil:
		return fail(Concurrency, "an operation on the instance is in progress; repeat the request when it has ended")
	case instance.Status != store.Ready:
		return fail(Unsupported, "the instance is not usable: deleting it failed half-way; delete it again")
	case instance.PlanID != want.PlanID && want.PredecessorID == "":
		return fail(Invalid, "plan_id: the instance is on plan %q", plan.Name)
	case !plan.Bindable:
		return fail(Invalid, "instances of plan %q cannot be bound", plan.Name)
	case plan.RequiresApp && want.AppID == "":
		return fail(RequiresApp, "plan %q can be bound to an application only, not used by a service key", plan.Name)
	case plan.RequiresAsync && !async:
		return fail(AsyncRequired, "plan %q takes long; repeat the request with accepts_incomplete=true", plan.Name)
	}
	return b.checkBinding(ctx, plan, want)
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
		return rejection(Invalid, err)
	}
	return nil
}

// existingBinding decides about a bind under an ID that is taken. again means
// that the binding's row was renewed for a new attempt.
func (b *Broker) existingBinding(ctx context.Context, tx pgx.Tx, want store.Binding) (op *store.Operation, again bool, err error) {
	have, err := b.Store.BindingForUpdate(ctx, tx, want.ID)
	if store.NotFound(err) {
		return nil, false, fail(Concurrency, "a binding with this id was being deleted; repeat the request")
	} else if err != nil {
		return nil, false, err
	}
	if have.Platform != want.Platform || have.InstanceID != want.InstanceID {
		return nil, false, fail(Conflict, "the binding id is in use")
	}
	// Read under the row's lock: another bind of the same ID may just have been
	// accepted.
	u, err := b.activeOperations(ctx, tx, want.InstanceID)
	if err != nil {
		return nil, false, err
	}
	op = u.ofBinding(want.ID)
	if op != nil && op.Kind == store.Unbind {
		return nil, false, fail(Concurrency, "the binding is being deleted; wait for that to end")
	}
	if have.Status == store.CreateFailed && op == nil {
		return nil, true, b.renewBinding(ctx, tx, want)
	}
	if have.Status == store.DeleteFailed {
		return nil, false, fail(Conflict, "deleting this binding failed half-way; delete it again")
	}
	if op == nil && have.IsExpired(time.Now()) || op != nil && op.Kind == store.Expire {
		return nil, false, expiredError(have)
	}
	if difference := bindingDifference(have, want); difference != "" {
		return nil, false, fail(Conflict, "the binding exists with another %s", difference)
	}
	return op, false, nil
}

func (b *Broker) renewBinding(ctx context.Context, tx pgx.Tx, want store.Binding) error {
	left, err := b.leftovers(ctx, tx, want.InstanceID, want.ID)
	if err != nil {
		return err
	}
	if left {
		return fail(Conflict, "creating this binding failed and is not cleaned up yet; delete it first")
	}
	return b.Store.RenewBinding(ctx, tx, store.RenewBindingParams{
		ID: want.ID, ServiceID: want.ServiceID, PlanID: want.PlanID, AppID: want.AppID, BindResource: want.BindResource,
		Context: want.Context, Parameters: want.Parameters, PredecessorID: want.PredecessorID,
		ExpiresAt: want.ExpiresAt, RenewBefore: want.RenewBefore, Delivery: want.Delivery,
	})
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

// deliverable says how the wanted binding's credentials will get to its
// application, or why they cannot.
func (b *Broker) deliverable(i store.Instance, want store.Binding) (string, error) {
	plan, err := b.planOf(i)
	if err != nil {
		return "", err
	}
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
