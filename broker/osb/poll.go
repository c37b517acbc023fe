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
func (a *api) pollInstance(ctx context.Context, x *exchange) (answer, error) {
	details, err := x.poll()
	if err != nil {
		return answer{}, err
	}
	p, err := a.Broker.Poll(ctx, x.instanceID, details)
	return lastOperation(p, lastOperationBody{InstanceUsable: p.InstanceUsable, UpdateRepeatable: p.UpdateRepeatable}), err
}

// pollBinding answers GET .../service_bindings/:binding_id/last_operation (OSB,
// "Polling Last Operation for Service Bindings").
func (a *api) pollBinding(ctx context.Context, x *exchange) (answer, error) {
	details, err := x.poll()
	if err != nil {
		return answer{}, err
	}
	p, err := a.Broker.PollBinding(ctx, x.instanceID, x.bindingID, details)
	return lastOperation(p, lastOperationBody{}), err
}

// poll reads the hints of the query, which are optional.
func (x *exchange) poll() (domain.PollDetails, error) {
	operation, err := x.param("operation")
	if err == nil && utf8.RuneCountInString(operation) > maxOperation {
		err = invalid("operation in the query has more than 10000 characters")
	}
	return domain.PollDetails{ServiceID: x.serviceID, PlanID: x.planID, OperationData: operation}, err
}

func lastOperation(p broker.Poll, body lastOperationBody) answer {
	body.State, body.Description = p.State, p.Description
	return answer{code: http.StatusOK, body: body, retryAfter: p.RetryAfter}
}
