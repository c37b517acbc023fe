package osb

import (
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
)

// bind answers PUT /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Binding", and "Binding Rotation" where a predecessor is named).
func (a *api) bind(ctx context.Context, r *request) (answer, error) {
	async, err := r.async()
	if err != nil {
		return answer{}, err
	}
	body, err := r.body()
	if err != nil {
		return answer{}, err
	}
	call := a.newBinding
	if body.text("predecessor_binding_id") != "" {
		call = a.rotate
	}
	made, err := call(ctx, r, body, async)
	if err != nil {
		return answer{}, err
	}
	return bindAnswer(made)
}

func (a *api) newBinding(ctx context.Context, r *request, body *fields, async bool) (domain.Binding, error) {
	details := domain.BindDetails{
		ServiceID:     body.requiredID("service_id"),
		PlanID:        body.requiredID("plan_id"),
		RawContext:    body.object("context"),
		RawParameters: body.object("parameters"),
	}
	details.AppGUID, details.BindResource = readBindResource(body)
	if err := body.err(); err != nil {
		return domain.Binding{}, err
	}
	return a.Broker.Bind(ctx, r.instanceID, r.bindingID, details, async)
}

// rotate reads a bind that replaces another binding; all but the predecessor
// may be absent.
func (a *api) rotate(ctx context.Context, r *request, body *fields, async bool) (domain.Binding, error) {
	rotation := broker.Rotation{
		PredecessorID: body.id("predecessor_binding_id"),
		ServiceID:     body.id("service_id"),
		PlanID:        body.id("plan_id"),
		RawContext:    body.object("context"),
	}
	if err := body.err(); err != nil {
		return domain.Binding{}, err
	}
	return a.Broker.Rotate(ctx, r.instanceID, r.bindingID, rotation, async)
}

// readBindResource returns the application, which older platforms name outside
// of bind_resource, and bind_resource, nil where it is absent or says nothing.
func readBindResource(body *fields) (appGUID string, resource *domain.BindResource) {
	inner, _ := body.within("bind_resource")
	res := domain.BindResource{
		AppGuid:            inner.id("app_guid"),
		SpaceGuid:          inner.id("space_guid"),
		Route:              inner.text("route"),
		CredentialClientID: inner.id("credential_client_id"),
	}
	appGUID = first(res.AppGuid, body.id("app_guid"))
	if res == (domain.BindResource{}) {
		return appGUID, nil
	}
	return appGUID, &res
}

func bindAnswer(b domain.Binding) (answer, error) {
	if b.IsAsync {
		return accepted(operationBody{b.OperationData}), nil
	}
	body, err := newBindingBody(domain.GetBindingSpec{
		Credentials:     b.Credentials,
		SyslogDrainURL:  b.SyslogDrainURL,
		RouteServiceURL: b.RouteServiceURL,
		VolumeMounts:    b.VolumeMounts,
		Endpoints:       b.Endpoints,
		Metadata:        b.Metadata,
	})
	if err != nil {
		return answer{}, err
	}
	if b.AlreadyExists {
		return answer{code: http.StatusOK, body: body}, nil
	}
	return answer{code: http.StatusCreated, body: body}, nil
}
