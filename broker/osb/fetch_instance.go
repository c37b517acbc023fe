package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// fetchInstance answers GET /v2/service_instances/:instance_id (OSB, "Fetching a
// Service Instance").
func (a *api) fetchInstance(ctx context.Context, r *request) (answer, error) {
	serviceID, planID, err := r.plan()
	if err != nil {
		return answer{}, err
	}
	found, err := a.Broker.FetchInstance(ctx, r.instanceID, domain.FetchInstanceDetails{ServiceID: serviceID, PlanID: planID})
	if err != nil {
		return answer{}, err
	}
	body := fetchedInstanceBody{
		ServiceID:    found.ServiceID,
		PlanID:       found.PlanID,
		DashboardURL: found.DashboardURL,
		Parameters:   found.Parameters,
		Metadata:     instanceMetadata(found.Metadata),
	}
	if found.MaintenanceVersion != "" {
		body.MaintenanceInfo = &maintenanceInfo{Version: found.MaintenanceVersion}
	}
	return answer{code: http.StatusOK, body: body}, nil
}
