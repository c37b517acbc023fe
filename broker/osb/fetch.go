package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// fetchInstance answers GET /v2/service_instances/:instance_id (OSB, "Fetching a Service
// Instance").
func (a *api) fetchInstance(ctx context.Context, x *exchange) (answer, error) {
	i, err := a.Broker.FetchInstance(ctx, x.instanceID, domain.FetchInstanceDetails{ServiceID: x.serviceID, PlanID: x.planID})
	return answer{code: http.StatusOK, body: fetchedInstanceBody{
		ServiceID:       i.ServiceID,
		PlanID:          i.PlanID,
		DashboardURL:    i.DashboardURL,
		Parameters:      i.Parameters,
		MaintenanceInfo: maintenanceInfo{i.MaintenanceVersion},
		Metadata:        instanceMetadata{i.Metadata},
	}}, err
}

// fetchBinding answers GET /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Fetching a Service Binding").
func (a *api) fetchBinding(ctx context.Context, x *exchange) (answer, error) {
	b, err := a.Broker.GetBinding(ctx, x.instanceID, x.bindingID, domain.FetchBindingDetails{ServiceID: x.serviceID, PlanID: x.planID})
	return answer{code: http.StatusOK, body: newBindingBody(b)}, err
}
