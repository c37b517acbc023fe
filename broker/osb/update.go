package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// update answers PATCH /v2/service_instances/:instance_id (OSB, "Updating a
// Service Instance").
func (a *api) update(ctx context.Context, x *exchange) (answer, error) {
	details := domain.UpdateDetails{
		ServiceID:       x.body.requiredID("service_id"),
		PlanID:          x.body.id("plan_id"),
		RawContext:      x.body.object("context"),
		RawParameters:   x.body.object("parameters"),
		MaintenanceInfo: readMaintenanceInfo(x.body),
		PreviousValues:  readPreviousValues(x.body),
	}
	if err := x.body.err(); err != nil {
		return answer{}, err
	}
	made, err := a.Broker.Update(ctx, x.instanceID, details, x.async)
	return outcome(made.IsAsync, http.StatusOK, instanceBody{made.DashboardURL, made.OperationData, instanceMetadata{made.Metadata}}), err
}

// readPreviousValues returns the instance as the platform expects it to be.
func readPreviousValues(body *fields) domain.PreviousValues {
	previous, _ := body.within("previous_values")
	values := domain.PreviousValues{
		PlanID:    previous.id("plan_id"),
		ServiceID: previous.id("service_id"),
		OrgID:     previous.id("organization_id"),
		SpaceID:   previous.id("space_id"),
	}
	if info, sent := previous.within("maintenance_info"); sent {
		values.MaintenanceInfo = &domain.MaintenanceInfo{Version: info.text("version")}
	}
	return values
}
