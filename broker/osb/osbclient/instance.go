package osbclient

import (
	"context"
	"encoding/json"
	"net/http"
)

// ProvisionRequest is the body of a provision, and whether the client accepts 202.
type ProvisionRequest struct {
	ServiceID        string           `json:"service_id"`
	PlanID           string           `json:"plan_id"`
	OrganizationGUID string           `json:"organization_guid,omitempty"`
	SpaceGUID        string           `json:"space_guid,omitempty"`
	Context          any              `json:"context,omitempty"`
	Parameters       any              `json:"parameters,omitempty"`
	MaintenanceInfo  *MaintenanceInfo `json:"maintenance_info,omitempty"`

	AcceptsIncomplete bool `json:"-"`
}

// Change is the answer to a provision, an update or a delete.
type Change struct {
	Response
	DashboardURL string `json:"dashboard_url"`
	// Operation is sent with each poll, if it is not empty.
	Operation string          `json:"operation"`
	Metadata  json.RawMessage `json:"metadata"`
}

// Provision makes an instance. As with every method here, the error is an *Error if the
// broker refused, and the Response is set then too.
func (c *Client) Provision(ctx context.Context, instanceID string, r ProvisionRequest) (Change, error) {
	return call[Change](ctx, c, Request{
		Method: http.MethodPut, Path: instancePath(instanceID), Query: query("accepts_incomplete", flag(r.AcceptsIncomplete)), Body: r,
	})
}

// Instance is the answer to the fetch of an instance.
type Instance struct {
	Response
	ServiceID       string           `json:"service_id"`
	PlanID          string           `json:"plan_id"`
	DashboardURL    string           `json:"dashboard_url"`
	Parameters      json.RawMessage  `json:"parameters"`
	MaintenanceInfo *MaintenanceInfo `json:"maintenance_info"`
	Metadata        json.RawMessage  `json:"metadata"`
}

// FetchInstance fetches an instance. serviceID and planID are hints, and may be
// empty.
func (c *Client) FetchInstance(ctx context.Context, instanceID, serviceID, planID string) (Instance, error) {
	return call[Instance](ctx, c, Request{
		Method: http.MethodGet, Path: instancePath(instanceID),
		Query: query("service_id", serviceID, "plan_id", planID),
	})
}

// UpdateRequest is the body of an update. Empty fields change nothing.
type UpdateRequest struct {
	ServiceID       string           `json:"service_id"`
	PlanID          string           `json:"plan_id,omitempty"`
	Context         any              `json:"context,omitempty"`
	Parameters      any              `json:"parameters,omitempty"`
	PreviousValues  *PreviousValues  `json:"previous_values,omitempty"`
	MaintenanceInfo *MaintenanceInfo `json:"maintenance_info,omitempty"`

	AcceptsIncomplete bool `json:"-"`
}

// PreviousValues is the instance before an update, as the platform knows it.
type PreviousValues struct {
	ServiceID       string           `json:"service_id,omitempty"`
	PlanID          string           `json:"plan_id,omitempty"`
	OrganizationID  string           `json:"organization_id,omitempty"`
	SpaceID         string           `json:"space_id,omitempty"`
	MaintenanceInfo *MaintenanceInfo `json:"maintenance_info,omitempty"`
}

// Update changes an instance.
func (c *Client) Update(ctx context.Context, instanceID string, r UpdateRequest) (Change, error) {
	return call[Change](ctx, c, Request{
		Method: http.MethodPatch, Path: instancePath(instanceID), Query: query("accepts_incomplete", flag(r.AcceptsIncomplete)), Body: r,
	})
}

// DeleteRequest is the query of a deprovision or an unbind.
type DeleteRequest struct {
	ServiceID, PlanID string
	AcceptsIncomplete bool
}

func (r DeleteRequest) to(path string) Request {
	return Request{
		Method: http.MethodDelete, Path: path,
		Query: query("service_id", r.ServiceID, "plan_id", r.PlanID, "accepts_incomplete", flag(r.AcceptsIncomplete)),
	}
}

// Deprovision removes an instance. An *Error with status 410 says that it does not exist.
func (c *Client) Deprovision(ctx context.Context, instanceID string, r DeleteRequest) (Change, error) {
	return call[Change](ctx, c, r.to(instancePath(instanceID)))
}
