package catalog

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// DefaultMaximumPollingDuration is how long an operation of a plan may take
// where the plan does not say.
const DefaultMaximumPollingDuration = time.Hour

const instancePlaceholder = "{instance_id}"

// Plan is a service plan (OSB 2.17, "Service Plan Object") and what the broker
// needs to know to serve it.
type Plan struct {
	ID, Name string
	Service  *Service
	// Backend is the name of the backend that makes the plan's instances, and
	// BackendType the name of its definition, such as database/postgres. The state
	// records it, so a backend that replaced another one has the former name here:
	// instances of before stay its own, and earlier releases know the new ones.
	Backend, BackendType string
	// Family is the first part of BackendType: database, queue, dns, filesystem,
	// function.
	Family string
	// Config is the plan's configuration in its backend's own keys.
	Config services.Plan

	Bindable  bool
	Rotatable bool
	// Updateable says that instances may change to another plan, and that there is
	// one: of the same service, on the same backend.
	Updateable bool
	// RequiresApp refuses bindings without an application, with RequiresApp.
	RequiresApp bool
	// RequiresAsync refuses requests without accepts_incomplete, with
	// AsyncRequired.
	RequiresAsync bool
	// Cascade makes a deprovision remove live bindings instead of refusing.
	Cascade bool
	// Endpoints puts endpoints into the answers to binds. It is off by
	// default: there is a client for Kubernetes that fails on them.
	Endpoints bool
	// DashboardURL is the template that Dashboard fills; empty for none.
	DashboardURL string
	// MaximumPollingDuration is how long an operation may take. It is
	// advertised where the file says it.
	MaximumPollingDuration time.Duration
	// BindingLifetime is how long a new binding's credentials are good, whole
	// seconds; 0: until it is unbound. BindingRenewBefore is how long before
	// its end platforms are told to replace it; 0: they are not told.
	BindingLifetime, BindingRenewBefore time.Duration
	// KeepDeleted is how long a deleted instance's data is kept for the
	// operator to restore; 0: it goes at once.
	KeepDeleted time.Duration
	// Delivery is how a binding's credentials get to its application; empty: as
	// the platform says. Catalog.Delivery tells.
	Delivery string
	// MaintenanceVersion is the semantic version that new instances are on;
	// empty where the plan has no maintenance information.
	MaintenanceVersion, MaintenanceDescription string

	create, update, bind *parameterSchema
}

// hasSibling says whether the service has another plan on the plan's backend.
func (p *Plan) hasSibling() bool {
	return slices.ContainsFunc(p.Service.Plans, func(q *Plan) bool { return q != p && q.Backend == p.Backend })
}

// Dashboard returns the URL of the instance's dashboard; empty where the plan
// has none.
func (p *Plan) Dashboard(instanceID string) string {
	// A query's escaping is valid in a path too, once the space is no plus
	// sign, and an ID cannot leave its place in either.
	escaped := strings.ReplaceAll(url.QueryEscape(instanceID), "+", "%20")
	return strings.ReplaceAll(p.DashboardURL, instancePlaceholder, escaped)
}

// CheckCreate says what is wrong with the parameters of a provision: all faults
// together, each naming the parameter and the rule. Nil, null and the empty
// object are no parameters.
func (p *Plan) CheckCreate(params json.RawMessage) error { return p.create.check(params) }

// CheckUpdate says what is wrong with the parameters of an update.
func (p *Plan) CheckUpdate(params json.RawMessage) error { return p.update.check(params) }

// CheckBind says what is wrong with the parameters of a bind.
func (p *Plan) CheckBind(params json.RawMessage) error { return p.bind.check(params) }
