package osb

import (
	"cmp"
	"context"

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
	if err != nil || b.IsAsync {
		return outcome(b.IsAsync, 0, operationBody{b.OperationData}), err
	}
	return answer{code: created(b.AlreadyExists), body: newBindingBody(domain.GetBindingSpec{
		Credentials:     b.Credentials,
		SyslogDrainURL:  b.SyslogDrainURL,
		RouteServiceURL: b.RouteServiceURL,
		VolumeMounts:    b.VolumeMounts,
		Endpoints:       b.Endpoints,
		Metadata:        b.Metadata,
	})}, nil
}

func (a *api) newBinding(ctx context.Context, x *exchange) (domain.Binding, error) {
	details := domain.BindDetails{
		ServiceID:     x.body.requiredID("service_id"),
		PlanID:        x.body.requiredID("plan_id"),
		RawContext:    x.body.object("context"),
		RawParameters: x.body.object("parameters"),
	}
	details.AppGUID, details.BindResource = readBindResource(x.body)
	if err := x.body.err(); err != nil {
		return domain.Binding{}, err
	}
	return a.Broker.Bind(ctx, x.instanceID, x.bindingID, details, x.async)
}

// rotate reads a bind that replaces another binding. Only the predecessor is required.
func (a *api) rotate(ctx context.Context, x *exchange) (domain.Binding, error) {
	rotation := broker.Rotation{
		PredecessorID: x.body.id("predecessor_binding_id"),
		ServiceID:     x.body.id("service_id"),
		PlanID:        x.body.id("plan_id"),
		RawContext:    x.body.object("context"),
	}
	if err := x.body.err(); err != nil {
		return domain.Binding{}, err
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
