package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// provision answers PUT /v2/service_instances/:instance_id (OSB, "Provisioning").
func (a *api) provision(ctx context.Context, r *request) (answer, error) {
	async, err := r.async()
	if err != nil {
		return answer{}, err
	}
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	details := domain.ProvisionDetails{
		ServiceID:       body.requiredID("service_id"),
		PlanID:          body.requiredID("plan_id"),
		RawContext:      body.object("context"),
		RawParameters:   body.object("parameters"),
		MaintenanceInfo: readMaintenanceInfo(body),
	}
	details.OrganizationGUID, details.SpaceGUID = owner(body)
	if err := body.err(); err != nil {
		return answer{}, err
	}
	made, err := a.Broker.Provision(ctx, r.instanceID, details, async)
	if err != nil {
		return answer{}, err
	}
	out := instanceBody{DashboardURL: made.DashboardURL, Operation: made.OperationData, Metadata: instanceMetadata(made.Metadata)}
	switch {
	case made.IsAsync:
		return accepted(out), nil
	case made.AlreadyExists:
		return answer{code: http.StatusOK, body: out}, nil
	}
	return answer{code: http.StatusCreated, body: out}, nil
}

// owner returns the organisation and the space that an instance belongs to. The
// body's own members are deprecated; the context says the same in the words of
// its platform (OSB, "Context Object"). In a Kubernetes cluster an instance need
// not belong to a namespace.
func owner(body *fields) (organization, space string) {
	organization, space = body.id("organization_guid"), body.id("space_guid")
	platform, _ := body.within("context")
	inCluster := platform.text("platform") == "kubernetes"
	organization = first(organization, platform.id("organization_guid"), platform.id("clusterid"))
	space = first(space, platform.id("space_guid"), platform.id("namespace"))
	if organization == "" && !inCluster && !body.faulty("organization_guid") {
		body.fault("organization_guid", "is required, here or in the context")
	}
	if space == "" && !inCluster && !body.faulty("space_guid") {
		body.fault("space_guid", "is required, here or in the context")
	}
	return organization, space
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// readMaintenanceInfo returns the version that the platform believes in; nil
// where it sent no object. Nothing else of the object counts.
func readMaintenanceInfo(body *fields) *domain.MaintenanceInfo {
	info, sent := body.within("maintenance_info")
	if !sent {
		return nil
	}
	return &domain.MaintenanceInfo{Version: info.id("version")}
}
