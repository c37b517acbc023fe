package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// update answers PATCH /v2/service_instances/:instance_id (OSB, "Updating a
// Service Instance").
func (a *api) update(ctx context.Context, r *request) (answer, error) {
	async, err := r.async()
	if err != nil {
		return answer{}, err
	}
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	details := domain.UpdateDetails{
		ServiceID:       body.requiredID("service_id"),
		PlanID:          body.id("plan_id"),
		RawContext:      body.object("context"),
		RawParameters:   body.object("parameters"),
		MaintenanceInfo: readMaintenanceInfo(body),
		PreviousValues:  readPreviousValues(body),
	}
	if err := body.err(); err != nil {
		return answer{}, err
	}
	made, err := a.Broker.Update(ctx, r.instanceID, details, async)
	if err != nil {
		return answer{}, err
	}
	out := instanceBody{DashboardURL: made.DashboardURL, Operation: made.OperationData, Metadata: instanceMetadata(made.Metadata)}
	if made.IsAsync {
		return accepted(out), nil
	}
	return answer{code: http.StatusOK, body: out}, nil
}

// readPreviousValues returns what the platform believes the instance to be.
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
