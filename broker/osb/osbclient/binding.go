package osbclient

import (
	"context"
	"encoding/json"
	"net/http"
)

// BindRequest is the body of a bind, and whether the client accepts 202.
type BindRequest struct {
	ServiceID    string        `json:"service_id,omitempty"`
	PlanID       string        `json:"plan_id,omitempty"`
	Context      any           `json:"context,omitempty"`
	AppGUID      string        `json:"app_guid,omitempty"`
	BindResource *BindResource `json:"bind_resource,omitempty"`
	Parameters   any           `json:"parameters,omitempty"`
	// PredecessorBindingID names the binding that this one replaces (OSB 2.17,
	// "Binding Rotation"), and whose IDs and parameters it takes over.
	PredecessorBindingID string `json:"predecessor_binding_id,omitempty"`

	AcceptsIncomplete bool `json:"-"`
}

// BindResource is what a binding is for; a service key has none of it.
type BindResource struct {
	AppGUID            string `json:"app_guid,omitempty"`
	SpaceGUID          string `json:"space_guid,omitempty"`
	Route              string `json:"route,omitempty"`
	CredentialClientID string `json:"credential_client_id,omitempty"`
	AppAnnotations     any    `json:"app_annotations,omitempty"`
}

// Binding is the answer to a bind and to the fetch of a binding.
type Binding struct {
	Response
	// Operation is sent with each poll, if it is not empty.
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

// BindingMetadata says how long a binding is valid.
type BindingMetadata struct {
	ExpiresAt   string `json:"expires_at"`
	RenewBefore string `json:"renew_before"`
}

// Bind makes a binding, or returns the existing one with the same attributes.
func (c *Client) Bind(ctx context.Context, instanceID, bindingID string, r BindRequest) (Binding, error) {
	return call[Binding](ctx, c, Request{
		Method: http.MethodPut, Path: bindingPath(instanceID, bindingID), Query: query("accepts_incomplete", flag(r.AcceptsIncomplete)), Body: r,
	})
}

// FetchBinding fetches a binding and its credentials. serviceID and planID are
// hints, and may be empty.
func (c *Client) FetchBinding(ctx context.Context, instanceID, bindingID, serviceID, planID string) (Binding, error) {
	return call[Binding](ctx, c, Request{
		Method: http.MethodGet, Path: bindingPath(instanceID, bindingID),
		Query: query("service_id", serviceID, "plan_id", planID),
	})
}

// Unbind removes a binding. An *Error with status 410 says that it does not exist.
func (c *Client) Unbind(ctx context.Context, instanceID, bindingID string, r DeleteRequest) (Change, error) {
	return call[Change](ctx, c, r.to(bindingPath(instanceID, bindingID)))
}
