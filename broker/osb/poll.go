package osb

import (
	"context"
	"net/http"
	"unicode/utf8"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
)

// maxOperation is how many characters an operation may have (OSB, "Polling Last
// Operation").
const maxOperation = 10_000

// pollInstance answers GET /v2/service_instances/:instance_id/last_operation
// (OSB, "Polling Last Operation for Service Instances").
func (a *api) pollInstance(ctx context.Context, r *request) (answer, error) {
	details, err := r.poll()
	if err != nil {
		return answer{}, err
	}
	p, err := a.Broker.Poll(ctx, r.instanceID, details)
	if err != nil {
		return answer{}, err
	}
	return lastOperation(p, lastOperationBody{InstanceUsable: p.InstanceUsable, UpdateRepeatable: p.UpdateRepeatable}), nil
}

// pollBinding answers GET .../service_bindings/:binding_id/last_operation (OSB,
// "Polling Last Operation for Service Bindings").
func (a *api) pollBinding(ctx context.Context, r *request) (answer, error) {
	details, err := r.poll()
	if err != nil {
		return answer{}, err
	}
	p, err := a.Broker.PollBinding(ctx, r.instanceID, r.bindingID, details)
	if err != nil {
		return answer{}, err
	}
	return lastOperation(p, lastOperationBody{}), nil
}

// poll reads the hints of the query, all of them optional.
func (r *request) poll() (domain.PollDetails, error) {
	serviceID, planID, err := r.plan()
	if err != nil {
		return domain.PollDetails{}, err
	}
	operation, err := r.param("operation")
	if err != nil {
		return domain.PollDetails{}, err
	}
	if utf8.RuneCountInString(operation) > maxOperation {
		return domain.PollDetails{}, invalid("operation in the query has more than 10000 characters")
	}
	return domain.PollDetails{ServiceID: serviceID, PlanID: planID, OperationData: operation}, nil
}

func lastOperation(p broker.Poll, body lastOperationBody) answer {
	body.State, body.Description = p.State, p.Description
	return answer{code: http.StatusOK, body: body, retryAfter: p.RetryAfter}
}
