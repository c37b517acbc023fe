package broker

import (
	"context"
	"encoding/json"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/store"
)

// GetInstance fetches an instance (GET /v2/service_instances/:instance_id).
func (b *Broker) GetInstance(ctx context.Context, instanceID string, d domain.FetchInstanceDetails) (domain.GetInstanceDetailsSpec, error) {
	details, err := b.FetchInstance(ctx, instanceID, d)
	return details.GetInstanceDetailsSpec, err
}

// FetchInstance is GetInstance with what brokerapi's type lacks.
func (b *Broker) FetchInstance(ctx context.Context, instanceID string, _ domain.FetchInstanceDetails) (InstanceDetails, error) {
	var details InstanceDetails
	have, err := b.Store.Instance(ctx, b.Store.Pool, instanceID)
	if store.NotFound(err) || err == nil && (!visible(ctx, have) || have.Status == store.CreateFailed || have.Status == store.Creating) {
		return details, fail(NotFound, "there is no such instance, or it is not ready yet")
	} else if err != nil {
		return details, stateError("read the instance", err)
	}
	u, err := b.activeOperations(ctx, b.Store.Pool, instanceID)
	if err != nil {
		return details, stateError("read the instance's operations", err)
	}
	if u.instance != nil {
		return details, fail(Concurrency, "the instance is being changed; repeat the request when that has ended")
	}
	plan, err := b.planOf(have)
	if err != nil {
		return details, err
	}
	details.ServiceID, details.PlanID, details.Parameters = have.ServiceID, have.PlanID, json.RawMessage(have.Parameters)
	details.MaintenanceVersion = have.MaintenanceVersion
	details.DashboardURL = plan.Dashboard(instanceID)
	details.Metadata.Attributes = b.attributes(ctx, have, plan)
	return details, nil
}

// GetBinding fetches a binding
// (GET /v2/service_instances/:instance_id/service_bindings/:binding_id).
func (b *Broker) GetBinding(ctx context.Context, instanceID, bindingID string, _ domain.FetchBindingDetails) (domain.GetBindingSpec, error) {
	var spec domain.GetBindingSpec
	have, err := b.Store.Binding(ctx, b.Store.Pool, bindingID)
	if store.NotFound(err) || err == nil && (have.InstanceID != instanceID || have.Platform != CallerFrom(ctx).Platform || have.Status != store.Ready && have.Status != store.Expired) {
		return spec, fail(NotFound, "there is no such binding, or it is not ready yet")
	} else if err != nil {
		return spec, stateError("read the binding", err)
	}
	if have.IsExpired(time.Now()) {
		return spec, fail(NotFound, "the binding expired at %s; create another one and delete this one", rfc3339(have.ExpiresAt))
	}
	u, err := b.activeOperations(ctx, b.Store.Pool, instanceID)
	if err != nil {
		return spec, stateError("read the instance's operations", err)
	}
	if u.ofBinding(bindingID) != nil || u.instance != nil && isDeprovision(u.instance.Kind) {
		return spec, fail(NotFound, "the binding is being deleted")
	}
	b.verify(ctx, have)
	binding, err := b.answer(ctx, have, true)
	if err != nil && AsError(err).Kind == Concurrency {
		return spec, fail(NotFound, "the binding is being deleted")
	} else if err != nil && AsError(err).Kind == Conflict {
		return spec, fail(NotFound, "%s", AsError(err).Description)
	} else if err != nil {
		return spec, err
	}
	spec.Credentials, spec.Endpoints, spec.VolumeMounts = binding.Credentials, binding.Endpoints, binding.VolumeMounts
	spec.Metadata, spec.Parameters = binding.Metadata, json.RawMessage(have.Parameters)
	return spec, nil
}

// LastOperation polls an instance's operation
// (GET /v2/service_instances/:instance_id/last_operation).
func (b *Broker) LastOperation(ctx context.Context, instanceID string, d domain.PollDetails) (domain.LastOperation, error) {
	poll, err := b.Poll(ctx, instanceID, d)
	return poll.LastOperation, err
}

// LastBindingOperation polls a binding's operation (GET
// /v2/service_instances/:instance_id/service_bindings/:binding_id/last_operation).
func (b *Broker) LastBindingOperation(ctx context.Context, instanceID, bindingID string, d domain.PollDetails) (domain.LastOperation, error) {
	poll, err := b.PollBinding(ctx, instanceID, bindingID, d)
	return poll.LastOperation, err
}

// Poll is LastOperation with what brokerapi's type lacks.
func (b *Broker) Poll(ctx context.Context, instanceID string, d domain.PollDetails) (Poll, error) {
	return b.poll(ctx, instanceID, "", d.OperationData, func() (store.Status, bool, error) {
		i, err := b.Store.Instance(ctx, b.Store.Pool, instanceID)
		return i.Status, err == nil && visible(ctx, i), err
	})
}

// PollBinding is LastBindingOperation with what brokerapi's type lacks.
func (b *Broker) PollBinding(ctx context.Context, instanceID, bindingID string, d domain.PollDetails) (Poll, error) {
	return b.poll(ctx, instanceID, bindingID, d.OperationData, func() (store.Status, bool, error) {
		i, err := b.Store.Binding(ctx, b.Store.Pool, bindingID)
		return i.Status, err == nil && i.InstanceID == instanceID && i.Platform == CallerFrom(ctx).Platform, err
	})
}

// retryAfter is what platforms are told to wait between polls. Operations end
// in seconds; a Cloud Foundry waits a minute whatever it is told.
const retryAfter = 5 * time.Second

// poll answers for the operation that the platform names, or for the latest.
// status is asked when operations are forgotten already.
func (b *Broker) poll(ctx context.Context, instanceID, bindingID, operationID string, status func() (store.Status, bool, error)) (Poll, error) {
	op, err := b.polledOperation(ctx, instanceID, bindingID, operationID)
	if err != nil {
		return Poll{}, stateError("read the operation", err)
	}
	if op != nil {
		return newPoll(*op), nil
	}
	state, exists, err := status()
	if err != nil && !store.NotFound(err) {
		return Poll{}, stateError("read the resource", err)
	}
	if exists && (state == store.Ready || state == store.Expired) {
		return Poll{LastOperation: domain.LastOperation{State: domain.Succeeded}}, nil
	}
	if exists {
		return Poll{LastOperation: domain.LastOperation{State: domain.Failed}}, nil
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

func (b *Broker) polledOperation(ctx context.Context, instanceID, bindingID, operationID string) (*store.Operation, error) {
	mine := func(op store.Operation) bool {
		return op.InstanceID == instanceID && op.BindingID == bindingID && op.Platform == CallerFrom(ctx).Platform
	}
	if operationID != "" {
		op, err := b.Store.Operation(ctx, b.Store.Pool, operationID)
		if err != nil && !store.NotFound(err) {
			return nil, err
		}
		// A create that a delete halted is of no interest any more.
		if err == nil && mine(op) && op.Outcome != store.OutcomePreempted {
			return &op, nil
		}
	}
	op, err := b.lastOperation(ctx, b.Store.Pool, instanceID, bindingID)
	if err != nil || op == nil || !mine(*op) || op.Kind == store.Expire { // which no platform began
		return nil, err
	}
	return op, nil
}

func newPoll(op store.Operation) Poll {
	p := Poll{LastOperation: domain.LastOperation{State: domain.LastOperationState(op.State), Description: op.Description}}
	if op.State == store.InProgress {
		p.RetryAfter = retryAfter
	}
	p.InstanceUsable, p.UpdateRepeatable = consequences(op)
	return p
}
