package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// deprovision answers DELETE /v2/service_instances/:instance_id (OSB,
// "Deprovisioning").
func (a *api) deprovision(ctx context.Context, r *request) (answer, error) {
	async, err := r.async()
	if err != nil {
		return answer{}, err
	}
	serviceID, planID, err := r.requiredPlan()
	if err != nil {
		return answer{}, err
	}
	done, err := a.Broker.Deprovision(ctx, r.instanceID, domain.DeprovisionDetails{ServiceID: serviceID, PlanID: planID}, async)
	if err != nil {
		return answer{}, err
	}
	if done.IsAsync {
		return accepted(operationBody{done.OperationData}), nil
	}
	return answer{code: http.StatusOK, body: struct{}{}}, nil
}
