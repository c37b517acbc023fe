package osb

import (
	"cmp"
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// instanceBody answers a provision and an update.
type instanceBody struct {
	DashboardURL string           `json:"dashboard_url,omitempty"`
	Operation    string           `json:"operation,omitempty"`
	Metadata     instanceMetadata `json:"metadata,omitzero"`
}

// instanceMetadata is omitted if it is empty.
type instanceMetadata struct{ domain.InstanceMetadata }

func (m instanceMetadata) IsZero() bool { return m.IsEmpty() }

// provision answers PUT /v2/service_instances/:instance_id (OSB, "Provisioning").
func (a *api) provision(ctx context.Context, x *exchange) (answer, error) {
	details := domain.ProvisionDetails{
		ServiceID:       x.body.requiredID("service_id"),
		PlanID:          x.body.requiredID("plan_id"),
		RawContext:      x.body.object("context"),
		RawParameters:   x.body.object("parameters"),
		MaintenanceInfo: readMaintenanceInfo(x.body),
	}
	details.OrganizationGUID, details.SpaceGUID = owner(x.body)
	if err := x.body.err(); err != nil {
		return answer{}, err
	}
	made, err := a.Broker.Provision(ctx, x.instanceID, details, x.async)
	return outcome(made.IsAsync, created(made.AlreadyExists), instanceBody{made.DashboardURL, made.OperationData, instanceMetadata{made.Metadata}}), err
}

// owner returns the organization and the space of an instance. The body's own members are
// deprecated; the context has the same in the words of its platform (OSB, "Context
// Object"). In a Kubernetes cluster an instance need not belong to a namespace.
func owner(body *fields) (organization, space string) {
	platform, _ := body.within("context")
	organization = cmp.Or(body.id("organization_guid"), platform.id("organization_guid"), platform.id("clusterid"))
	space = cmp.Or(body.id("space_guid"), platform.id("space_guid"), platform.id("namespace"))
	if platform.text("platform") == "kubernetes" {
		return organization, space
	}
	for _, member := range []struct{ name, value string }{{"organization_guid", organization}, {"space_guid", space}} {
		if member.value == "" && !body.faulty(member.name) {
			body.fault(member.name, "is required, here or in the context")
		}
	}
	return organization, space
}

// readMaintenanceInfo returns the version that the platform expects; nil if it sent no
// object. The object's other members have no effect.
func readMaintenanceInfo(body *fields) *domain.MaintenanceInfo {
	info, sent := body.within("maintenance_info")
	if !sent {
		return nil
	}
	return &domain.MaintenanceInfo{Version: info.id("version")}
}

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

// deprovision answers DELETE /v2/service_instances/:instance_id (OSB, "Deprovisioning").
func (a *api) deprovision(ctx context.Context, x *exchange) (answer, error) {
	operation, err := a.Broker.Deprovision(ctx, x.instanceID, x.async)
	return outcome(operation != "", http.StatusOK, operationBody{operation}), err
}

// fetchInstance answers GET /v2/service_instances/:instance_id (OSB, "Fetching a Service
// Instance").
func (a *api) fetchInstance(ctx context.Context, x *exchange) (answer, error) {
	i, err := a.Broker.FetchInstance(ctx, x.instanceID)
	return answer{code: http.StatusOK, body: i}, err
}
