package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// deprovision answers DELETE /v2/service_instances/:instance_id (OSB, "Deprovisioning").
func (a *api) deprovision(ctx context.Context, x *exchange) (answer, error) {
	done, err := a.Broker.Deprovision(ctx, x.instanceID, domain.DeprovisionDetails{ServiceID: x.serviceID, PlanID: x.planID}, x.async)
	return outcome(done.IsAsync, http.StatusOK, operationBody{done.OperationData}), err
}

// unbind answers DELETE /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Unbinding").
func (a *api) unbind(ctx context.Context, x *exchange) (answer, error) {
	done, err := a.Broker.Unbind(ctx, x.instanceID, x.bindingID, domain.UnbindDetails{ServiceID: x.serviceID, PlanID: x.planID}, x.async)
	return outcome(done.IsAsync, http.StatusOK, operationBody{done.OperationData}), err
}
