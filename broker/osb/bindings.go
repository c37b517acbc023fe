package osb

import (
	"cmp"
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
)

// bind answers PUT /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Binding", and "Binding Rotation" if a predecessor is named).
func (a *api) bind(ctx context.Context, x *exchange) (answer, error) {
	call := a.newBinding
	if x.body.text("predecessor_binding_id") != "" {
		call = a.rotate
	}
	b, err := call(ctx, x)
	if err != nil || b.OperationData != "" {
		return outcome(true, 0, operationBody{b.OperationData}), err
	}
	return answer{code: created(b.AlreadyExists), body: b}, nil
}

func (a *api) newBinding(ctx context.Context, x *exchange) (broker.Binding, error) {
	details := domain.BindDetails{
		ServiceID:     x.body.requiredID("service_id"),
		PlanID:        x.body.requiredID("plan_id"),
		RawContext:    x.body.object("context"),
		RawParameters: x.body.object("parameters"),
	}
	details.AppGUID, details.BindResource = readBindResource(x.body)
	if err := x.body.err(); err != nil {
		return broker.Binding{}, err
	}
	return a.Broker.Bind(ctx, x.instanceID, x.bindingID, details, x.async)
}

// rotate reads a bind that replaces another binding. Only the predecessor is required.
func (a *api) rotate(ctx context.Context, x *exchange) (broker.Binding, error) {
	rotation := broker.Rotation{
		PredecessorID: x.body.id("predecessor_binding_id"),
		ServiceID:     x.body.id("service_id"),
		PlanID:        x.body.id("plan_id"),
		RawContext:    x.body.object("context"),
	}
	if err := x.body.err(); err != nil {
		return broker.Binding{}, err
	}
	return a.Broker.Rotate(ctx, x.instanceID, x.bindingID, rotation, x.async)
}

// readBindResource returns the application, which older platforms name outside of
// bind_resource, and bind_resource, nil if it is absent or empty.
func readBindResource(body *fields) (appGUID string, resource *domain.BindResource) {
	inner, _ := body.within("bind_resource")
	res := domain.BindResource{
		AppGuid:            inner.id("app_guid"),
		SpaceGuid:          inner.id("space_guid"),
		Route:              inner.text("route"),
		CredentialClientID: inner.id("credential_client_id"),
	}
	appGUID = cmp.Or(res.AppGuid, body.id("app_guid"))
	if res == (domain.BindResource{}) {
		return appGUID, nil
	}
	return appGUID, &res
}

// unbind answers DELETE /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Unbinding").
func (a *api) unbind(ctx context.Context, x *exchange) (answer, error) {
	operation, err := a.Broker.Unbind(ctx, x.instanceID, x.bindingID, x.async)
	return outcome(operation != "", http.StatusOK, operationBody{operation}), err
}

// fetchBinding answers GET /v2/service_instances/:instance_id/service_bindings/:binding_id
// (OSB, "Fetching a Service Binding").
func (a *api) fetchBinding(ctx context.Context, x *exchange) (answer, error) {
	b, err := a.Broker.FetchBinding(ctx, x.instanceID, x.bindingID)
	return answer{code: http.StatusOK, body: b}, err
}
