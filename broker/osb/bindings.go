package osb

import (
	"cmp"
	"context"
	"net/http"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/services"
)

// bindingBody answers a bind and the fetch of a binding. brokerapi's volume mounts and
// endpoints would have nulls.
type bindingBody struct {
	Metadata        bindingMetadata        `json:"metadata,omitzero"`
	Credentials     any                    `json:"credentials,omitempty"`
	SyslogDrainURL  string                 `json:"syslog_drain_url,omitempty"`
	RouteServiceURL string                 `json:"route_service_url,omitempty"`
	VolumeMounts    []services.VolumeMount `json:"volume_mounts,omitempty"`
	Endpoints       []services.Endpoint    `json:"endpoints,omitempty"`
	Parameters      any                    `json:"parameters,omitempty"` // of a fetch only
}

// bindingMetadata is the specification's ("Binding Metadata Object"), with attributes as
// those of instances ("Vendor Extension Fields").
type bindingMetadata struct {
	domain.BindingMetadata
	Attributes map[string]any `json:"attributes,omitempty"`
}

// IsZero omits metadata that is empty.
func (m bindingMetadata) IsZero() bool { return m.IsEmpty() && len(m.Attributes) == 0 }

func newBindingBody(b domain.GetBindingSpec) bindingBody {
	body := bindingBody{
		Metadata:        bindingMetadata{BindingMetadata: b.Metadata},
		Credentials:     b.Credentials,
		SyslogDrainURL:  b.SyslogDrainURL,
		RouteServiceURL: b.RouteServiceURL,
		Parameters:      b.Parameters,
	}
	if r, ok := b.Credentials.(broker.Reference); ok {
		body.Metadata.Attributes = r.Attributes
	}
	for _, m := range b.VolumeMounts {
		body.VolumeMounts = append(body.VolumeMounts, services.VolumeMount{
			Driver: m.Driver, ContainerDir: m.ContainerDir, Mode: m.Mode, DeviceType: m.DeviceType,
			Device: services.VolumeDevice{VolumeID: m.Device.VolumeId, MountConfig: m.Device.MountConfig},
		})
	}
	for _, e := range b.Endpoints {
		body.Endpoints = append(body.Endpoints, services.Endpoint{Host: e.Host, Ports: append([]string{}, e.Ports...), Protocol: e.Protocol})
	}
	return body
}

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
	return answer{code: http.StatusOK, body: newBindingBody(b)}, err
}
