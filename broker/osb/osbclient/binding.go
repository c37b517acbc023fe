package osbclient

import (
	"context"
	"encoding/json"
	"net/http"
)

// BindRequest is the body of a bind, and whether the work may go on after the
// answer.
type BindRequest struct {
	ServiceID    string        `json:"service_id,omitempty"`
	PlanID       string        `json:"plan_id,omitempty"`
	Context      any           `json:"context,omitempty"`
	AppGUID      string        `json:"app_guid,omitempty"`
	BindResource *BindResource `json:"bind_resource,omitempty"`
	Parameters   any           `json:"parameters,omitempty"`
	// PredecessorBindingID names the binding that this one replaces (OSB 2.17,
	// "Binding Rotation"); the IDs and the parameters are its own then.
	PredecessorBindingID string `json:"predecessor_binding_id,omitempty"`

	AcceptsIncomplete bool `json:"-"`
}

// BindResource is what a binding is for; none of it makes a service key.
type BindResource struct {
	AppGUID            string `json:"app_guid,omitempty"`
	SpaceGUID          string `json:"space_guid,omitempty"`
	Route              string `json:"route,omitempty"`
	CredentialClientID string `json:"credential_client_id,omitempty"`
	AppAnnotations     any    `json:"app_annotations,omitempty"`
}

// Binding is the answer to a bind, and what a fetch tells of a binding.
type Binding struct {
	Response
	// Operation is to be sent with each poll, where it is not empty.
	Operation       string           `json:"operation"`
	Credentials     map[string]any   `json:"credentials"`
	SyslogDrainURL  string           `json:"syslog_drain_url"`
	RouteServiceURL string           `json:"route_service_url"`
	VolumeMounts    json.RawMessage  `json:"volume_mounts"`
	Endpoints       []Endpoint       `json:"endpoints"`
	Metadata        *BindingMetadata `json:"metadata"`
	// Parameters are of a fetch only.
	Parameters json.RawMessage `json:"parameters"`
}

// Endpoint is where an application connects to.
type Endpoint struct {
	Host     string   `json:"host"`
	Ports    []string `json:"ports"`
	Protocol string   `json:"protocol"`
}

// BindingMetadata says how long a binding is good for.
type BindingMetadata struct {
	ExpiresAt   string `json:"expires_at"`
	RenewBefore string `json:"renew_before"`
}

// Bind makes a binding, or answers the one that is there with the same
// attributes.
func (c *Client) Bind(ctx context.Context, instanceID, bindingID string, r BindRequest) (Binding, error) {
	return c.binding(ctx, Request{
		Method: http.MethodPut, Path: bindingPath(instanceID, bindingID), Query: incomplete(r.AcceptsIncomplete), Body: r,
	})
}

// FetchBinding fetches a binding and its credentials. serviceID and planID are
// hints, and may be empty.
func (c *Client) FetchBinding(ctx context.Context, instanceID, bindingID, serviceID, planID string) (Binding, error) {
	return c.binding(ctx, Request{
		Method: http.MethodGet, Path: bindingPath(instanceID, bindingID),
		Query: query("service_id", serviceID, "plan_id", planID),
	})
}

func (c *Client) binding(ctx context.Context, r Request) (Binding, error) {
	var binding Binding
	var err error
	binding.Response, err = c.call(ctx, r, &binding)
	return binding, err
}

// Unbind removes a binding. An *Error with status 410 says that there is none.
func (c *Client) Unbind(ctx context.Context, instanceID, bindingID string, r DeleteRequest) (Change, error) {
	return c.change(ctx, r.to(bindingPath(instanceID, bindingID)))
}
