package broker

import (
	"context"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/store"
)

// FetchInstance fetches an instance (GET /v2/service_instances/:instance_id).
func (b *Broker) FetchInstance(ctx context.Context, instanceID string) (Instance, error) {
	var none Instance
	have, err := b.Store.Instance(ctx, b.Store.Pool, instanceID)
	if store.NotFound(err) || err == nil && (!visible(ctx, have) || have.Status == store.CreateFailed || have.Status == store.Creating) {
		return none, fail(NotFound, "there is no such instance, or it is not ready yet")
	} else if err != nil {
		return none, stateError("read the instance", err)
	}
	active, err := b.Store.UnfinishedOperations(ctx, b.Store.Pool, instanceID)
	if err != nil {
		return none, stateError("read the instance's operations", err)
	}
	if isBusy(active) {
		return none, fail(Concurrency, "the instance is being changed; repeat the request when that has ended")
	}
	plan, err := b.planOf(have)
	if err != nil {
		return none, err
	}
	parameters, err := merge(have.Parameters, have.Source)
	if err != nil {
		return none, internal("join the parameters", err)
	}
	return Instance{
		ServiceID: have.ServiceID, PlanID: have.PlanID, Parameters: parameters, DashboardURL: plan.Dashboard(instanceID),
		MaintenanceInfo: domain.MaintenanceInfo{Version: have.MaintenanceVersion},
		Metadata:        domain.InstanceMetadata{Attributes: b.attributes(ctx, have, plan)},
	}, nil
}

// FetchBinding fetches a binding
// (GET /v2/service_instances/:instance_id/service_bindings/:binding_id).
func (b *Broker) FetchBinding(ctx context.Context, instanceID, bindingID string) (Binding, error) {
	var none Binding
	have, err := b.Store.Binding(ctx, b.Store.Pool, bindingID)
	if store.NotFound(err) || err == nil && (have.InstanceID != instanceID || have.Platform != CallerFrom(ctx).Platform || have.Status != store.Ready && have.Status != store.Expired) {
		return none, fail(NotFound, "there is no such binding, or it is not ready yet")
	} else if err != nil {
		return none, stateError("read the binding", err)
	}
	if have.IsExpired(time.Now()) {
		return none, fail(NotFound, "the binding expired at %s; create another one and delete this one", rfc3339(have.ExpiresAt))
	}
	active, err := b.Store.UnfinishedOperations(ctx, b.Store.Pool, instanceID)
	if err != nil {
		return none, stateError("read the instance's operations", err)
	}
	if store.On(active, bindingID) != nil || isDeleting(active) {
		return none, fail(NotFound, "the binding is being deleted")
	}
	b.verify(ctx, have)
	binding, err := b.answer(ctx, have, true, nil)
	if err != nil {
		if e := AsError(err); e.Kind == Concurrency || e.Kind == Conflict {
			return none, fail(NotFound, "%s", e.Description)
		}
		return none, err
	}
	binding.Parameters = have.Parameters
	return binding, nil
}

// retryAfter is how long platforms should wait between polls: operations end in seconds.
const retryAfter = 5 * time.Second

// Poll polls the named operation of an instance, or of a binding if bindingID is not empty
// (GET .../last_operation). If operationID is empty, or the operation is of no interest
// any more, it polls the latest one.
func (b *Broker) Poll(ctx context.Context, instanceID, bindingID, operationID string) (Poll, error) {
	op, err := b.polledOperation(ctx, instanceID, bindingID, operationID)
	if err != nil {
		return Poll{}, stateError("read the operation", err)
	}
	if op != nil {
		return newPoll(*op), nil
	}
	// Operations are not recorded for ever.
	status, err := b.status(ctx, instanceID, bindingID)
	switch {
	case err != nil:
		return Poll{}, stateError("read the resource", err)
	case status == store.Ready || status == store.Expired:
		return Poll{State: store.Succeeded}, nil
	case status != "":
		return Poll{State: store.Failed}, nil
	}
	deleted, err := b.Store.WasDeleted(ctx, b.Store.Pool, store.WasDeletedParams{
		InstanceID: instanceID, BindingID: bindingID, Platform: CallerFrom(ctx).Platform,
	})
	if err != nil {
		return Poll{}, stateError("read the audit record", err)
	}
	if deleted {
		return Poll{}, fail(Gone, "it was deleted")
	}
	return Poll{}, fail(NotFound, "there is no such resource")
}

// status is that of an instance or binding of the caller, or "" if it does not exist.
func (b *Broker) status(ctx context.Context, instanceID, bindingID string) (status store.Status, err error) {
	var exists bool
	if bindingID == "" {
		var i store.Instance
		i, err = b.Store.Instance(ctx, b.Store.Pool, instanceID)
		status, exists = i.Status, visible(ctx, i)
	} else {
		var have store.Binding
		have, err = b.Store.Binding(ctx, b.Store.Pool, bindingID)
		status, exists = have.Status, have.InstanceID == instanceID && have.Platform == CallerFrom(ctx).Platform
	}
	if store.NotFound(err) || err == nil && !exists {
		return "", nil
	}
	return status, err
}

func (b *Broker) polledOperation(ctx context.Context, instanceID, bindingID, operationID string) (*store.Operation, error) {
	mine := func(op store.Operation) bool {
		return op.InstanceID == instanceID && op.BindingID == bindingID && op.Platform == CallerFrom(ctx).Platform
	}
	if operationID != "" {
		op, err := b.Store.Operation(ctx, b.Store.Pool, operationID)
		if err != nil && !store.NotFound(err) {
			return nil, err
		}
		// A create that a delete preempted is of no interest any more.
		if err == nil && mine(op) && op.Outcome != store.OutcomePreempted {
			return &op, nil
		}
	}
	op, err := b.lastOperation(ctx, b.Store.Pool, instanceID, bindingID)
	if err != nil || op == nil || !mine(*op) || op.Kind == store.Expire || op.Kind == store.Recover { // which no platform began
		return nil, err
	}
	return op, nil
}

func newPoll(op store.Operation) Poll {
	p := Poll{State: op.State, Description: op.Description}
	if op.State == store.InProgress {
		p.RetryAfter = retryAfter
	}
	p.InstanceUsable, p.UpdateRepeatable = consequences(op)
	return p
}
