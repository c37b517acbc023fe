package catalog

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// DefaultMaximumPollingDuration is how long an operation may take if its plan does not
// say.
const DefaultMaximumPollingDuration = time.Hour

// defaultCopyDuration is the same for an operation that waits for a backup or a restore.
const defaultCopyDuration = 24 * time.Hour

const instancePlaceholder = "{instance_id}"

// Plan is a service plan (OSB 2.17, "Service Plan Object"), with what the broker needs to
// serve it.
type Plan struct {
	ID          string `json:"id" yaml:",required"`
	Name        string `json:"name" yaml:",required"`
	Description string `json:"description" yaml:",required"`
	Free        bool   `json:"free"`
	Bindable    bool   `json:"bindable"`
	Rotatable   bool   `json:"binding_rotatable"`
	// Updateable says that instances can change to another plan, and that there is
	// one: of the same service, on the same backend.
	Updateable bool `json:"plan_updateable"`
	// PollingSeconds is MaximumPollingDuration if the file has it: at most a week, after
	// which Cloud Foundry gives up.
	PollingSeconds  int              `json:"maximum_polling_duration,omitempty" bounds:"1-604800"`
	MaintenanceInfo *maintenanceInfo `json:"maintenance_info,omitempty"`
	Metadata        json.RawMessage  `json:"metadata,omitempty" yaml:",raw"`
	Schemas         schemas          `json:"schemas,omitzero" yaml:"-"`

	// Actions are the parameters of an update that the instance does not keep
	// (services.Schemas).
	Actions []string `json:"-" yaml:"-"`

	Service *Service `json:"-"`
	// Backend is the name of the plan's backend, and BackendType that of its definition,
	// such as database/postgres. The state records both, so BackendType is the former name
	// of a backend that replaced another.
	Backend     string `json:"-" yaml:"backend,required"`
	BackendType string `json:"-"`
	// Family is the first part of BackendType, such as database.
	Family string `json:"-"`
	// Config is the plan's configuration in its backend's own keys.
	Config services.Plan `json:"-" yaml:"config,raw"`
	// RequiresApp refuses bindings without an application, with RequiresApp.
	RequiresApp bool `json:"-" yaml:"requires_app"`
	// RequiresAsync refuses requests without accepts_incomplete, with AsyncRequired.
	RequiresAsync bool `json:"-" yaml:"requires_async"`
	// Cascade makes a deprovision remove live bindings instead of refusing.
	Cascade bool `json:"-" yaml:"cascade"`
	// Endpoints puts endpoints into the answers to binds. It is off by default: a client
	// for Kubernetes fails on them.
	Endpoints bool `json:"-" yaml:"endpoints"`
	// DashboardURL is the template that Dashboard fills; empty for none.
	DashboardURL string `json:"-" yaml:"dashboard_url"`
	// BindingLifetime is how long a new binding's credentials are valid, in whole seconds;
	// 0: until it is unbound. BindingRenewBefore is how long before the end platforms are
	// told to replace it; 0: they are not told.
	BindingLifetime    time.Duration `json:"-" yaml:"binding_lifetime"`
	BindingRenewBefore time.Duration `json:"-" yaml:"binding_renew_before"`
	// KeepDeleted is how long a deleted instance's data is retained for the operator to
	// restore; 0: it is removed at once.
	KeepDeleted time.Duration `json:"-" yaml:"keep_deleted"`
	// Backups says which backups of instances are made; nil: none.
	Backups *PlanBackups `json:"-" yaml:"backups"`
	// Delivery is how a binding's credentials reach its application; empty: as the
	// platform says. Catalog.Delivery decides.
	Delivery string `json:"-" yaml:"delivery"`
	// MaximumPollingDuration is how long an operation may take.
	MaximumPollingDuration time.Duration `json:"-"`
	// MaintenanceVersion is the semantic version of new instances; empty if the plan has
	// no maintenance information.
	MaintenanceVersion string `json:"-"`
}

type maintenanceInfo struct {
	Version     string `json:"version" yaml:",required"`
	Description string `json:"description,omitempty"`
}

// OperationTime is how long an operation on an instance may take; copies says that it waits for
// a backup or a restore.
func (p *Plan) OperationTime(copies bool) time.Duration {
	if copies && p.PollingSeconds == 0 {
		return max(p.MaximumPollingDuration, defaultCopyDuration)
	}
	return p.MaximumPollingDuration
}

// hasSibling says whether the service has another plan on the plan's backend.
func (p *Plan) hasSibling() bool {
	return slices.ContainsFunc(p.Service.Plans, func(q *Plan) bool { return q != p && q.Backend == p.Backend })
}

// Dashboard returns the URL of the instance's dashboard; empty if the plan has none.
func (p *Plan) Dashboard(instanceID string) string {
	// A query's escaping is valid in a path too, except for the plus sign, and an ID
	// cannot leave its place in either.
	escaped := strings.ReplaceAll(url.QueryEscape(instanceID), "+", "%20")
	return strings.ReplaceAll(p.DashboardURL, instancePlaceholder, escaped)
}

// CheckCreate returns all faults of a provision's parameters, each with the parameter and
// the rule. Nil, null and the empty object are no parameters.
func (p *Plan) CheckCreate(params json.RawMessage) error {
	return p.Schemas.Instance.Create.check(params)
}

// CheckUpdate returns all faults of an update's parameters.
func (p *Plan) CheckUpdate(params json.RawMessage) error {
	return p.Schemas.Instance.Update.check(params)
}

// CheckBind returns all faults of a bind's parameters.
func (p *Plan) CheckBind(params json.RawMessage) error { return p.Schemas.Binding.Create.check(params) }
