package catalog

import (
	"bytes"
	"encoding/json"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// offering is a service as the broker needs it and as the platform reads it.
type offering struct {
	service *Service
	wire    wireService
}

// What follows is the body of GET /v2/catalog (OSB 2.17, "Catalog Management").
// Lists are never null, and what is unset is left out: clients refuse nulls.
type wireService struct {
	ID                   string               `json:"id"`
	Name                 string               `json:"name"`
	Description          string               `json:"description"`
	Tags                 []string             `json:"tags"`
	Requires             []string             `json:"requires"`
	Bindable             bool                 `json:"bindable"`
	InstancesRetrievable bool                 `json:"instances_retrievable"`
	BindingsRetrievable  bool                 `json:"bindings_retrievable"`
	AllowContextUpdates  bool                 `json:"allow_context_updates"`
	PlanUpdateable       bool                 `json:"plan_updateable"`
	Metadata             json.RawMessage      `json:"metadata,omitempty"`
	DashboardClient      *wireDashboardClient `json:"dashboard_client,omitempty"`
	Plans                []wirePlan           `json:"plans"`
}

type wireDashboardClient struct {
	ID          string `json:"id"`
	Secret      string `json:"secret"`
	RedirectURI string `json:"redirect_uri"`
}

type wirePlan struct {
	ID                     string               `json:"id"`
	Name                   string               `json:"name"`
	Description            string               `json:"description"`
	Free                   bool                 `json:"free"`
	Bindable               bool                 `json:"bindable"`
	BindingRotatable       bool                 `json:"binding_rotatable"`
	PlanUpdateable         bool                 `json:"plan_updateable"`
	MaximumPollingDuration int                  `json:"maximum_polling_duration,omitempty"`
	MaintenanceInfo        *wireMaintenanceInfo `json:"maintenance_info,omitempty"`
	Metadata               json.RawMessage      `json:"metadata,omitempty"`
	Schemas                wireSchemas          `json:"schemas,omitzero"`
}

type wireMaintenanceInfo struct {
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
}

type wireSchemas struct {
	Instance wireInstanceSchemas `json:"service_instance,omitzero"`
	Binding  wireBindingSchemas  `json:"service_binding,omitzero"`
}

type wireInstanceSchemas struct {
	Create *wireParameters `json:"create,omitempty"`
	Update *wireParameters `json:"update,omitempty"`
}

type wireBindingSchemas struct {
	Create *wireParameters `json:"create,omitempty"`
}

type wireParameters struct {
	Parameters json.RawMessage `json:"parameters"`
}

// encode returns the body of the catalog.
func encode(offerings []offering) ([]byte, error) {
	body := struct {
		Services []wireService `json:"services"`
	}{[]wireService{}}
	for _, o := range offerings {
		body.Services = append(body.Services, o.wire)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the body is JSON for machines, not part of a page
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func decodeDomain(body []byte) ([]domain.Service, error) {
	var decoded struct {
		Services []domain.Service `json:"services"`
	}
	err := json.Unmarshal(body, &decoded)
	return decoded.Services, err
}
