package osbclient

import (
	"context"
	"encoding/json"
	"net/http"
)

// Catalog is what the broker offers (OSB 2.17, "Catalog Management").
type Catalog struct {
	Response
	Services []Service `json:"services"`
}

// Service is a service offering.
type Service struct {
	ID                   string          `json:"id"`
	Name                 string          `json:"name"`
	Description          string          `json:"description"`
	Tags                 []string        `json:"tags"`
	Requires             []string        `json:"requires"`
	Bindable             bool            `json:"bindable"`
	InstancesRetrievable bool            `json:"instances_retrievable"`
	BindingsRetrievable  bool            `json:"bindings_retrievable"`
	AllowContextUpdates  bool            `json:"allow_context_updates"`
	PlanUpdateable       bool            `json:"plan_updateable"`
	Metadata             json.RawMessage `json:"metadata"`
	Plans                []Plan          `json:"plans"`
}

// Plan is a service plan. Nil flags are the specification's defaults: Free is
// true, Bindable and PlanUpdateable are the service's.
type Plan struct {
	ID                     string           `json:"id"`
	Name                   string           `json:"name"`
	Description            string           `json:"description"`
	Free                   *bool            `json:"free"`
	Bindable               *bool            `json:"bindable"`
	BindingRotatable       bool             `json:"binding_rotatable"`
	PlanUpdateable         *bool            `json:"plan_updateable"`
	MaximumPollingDuration int              `json:"maximum_polling_duration"`
	MaintenanceInfo        *MaintenanceInfo `json:"maintenance_info"`
	Metadata               json.RawMessage  `json:"metadata"`
	Schemas                json.RawMessage  `json:"schemas"`
}

// IsBindable says whether instances of the plan can be bound.
func (p Plan) IsBindable(s Service) bool {
	if p.Bindable != nil {
		return *p.Bindable
	}
	return s.Bindable
}

// MaintenanceInfo is the version of a plan's instances.
type MaintenanceInfo struct {
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
}

// Catalog fetches the catalog. The error is an *Error if the broker refused.
func (c *Client) Catalog(ctx context.Context) (Catalog, error) {
	return call[Catalog](ctx, c, Request{Method: http.MethodGet, Path: "/v2/catalog"})
}

// Find returns the service and the plan of these names.
func (c Catalog) Find(service, plan string) (Service, Plan, bool) {
	for _, s := range c.Services {
		for _, p := range s.Plans {
			if s.Name == service && p.Name == plan {
				return s, p, true
			}
		}
	}
	return Service{}, Plan{}, false
}
