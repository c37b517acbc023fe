package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// fetchBinding answers GET /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Fetching a Service Binding").
func (a *api) fetchBinding(ctx context.Context, r *request) (answer, error) {
	serviceID, planID, err := r.plan()
	if err != nil {
		return answer{}, err
	}
	found, err := a.Broker.GetBinding(ctx, r.instanceID, r.bindingID, domain.FetchBindingDetails{ServiceID: serviceID, PlanID: planID})
	if err != nil {
		return answer{}, err
	}
	body, err := newBindingBody(found)
	if err != nil {
		return answer{}, err
	}
	return answer{code: http.StatusOK, body: body}, nil
}
