// Package catalog turns catalog.yml into a checked, immutable Catalog. It finds all faults
// of the file before the broker serves it, and reports them together: file, line, path,
// what is wrong and what to do.
package catalog

import (
	"encoding/json"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Catalog is what the broker offers, to which clients, and with which backends. It never
// changes, and is safe for concurrent use.
type Catalog struct {
	file         string
	source       []byte
	json         []byte
	etag         string
	lastModified time.Time

	services   []*Service
	backends   []Backend
	platforms  []Client
	operators  []Client
	quotas     []Quota
	deliveries Deliveries
	backups    *Backups
	// withoutBackups are names of plans.
	withoutBackups []string

	serviceByID map[string]*Service
	planByID    map[string]*Plan
}

// Backend is a configured backend: several may share one definition.
type Backend struct {
	// Name is the key under "backends", which plans refer to.
	Name       string
	Definition services.Definition
	// Servers hold its instances; there is at least one.
	Servers []Server
}

// DefaultPlatform is the name of the environment's platform, which counts if the file has
// no platforms.
const DefaultPlatform = "default"

// Service is a service offering (OSB 2.17, "Service Offering Object"). Its keys in the file
// and in the catalog that platforms read are the same. Lists are never null, and unset
// fields are left out: clients refuse nulls.
type Service struct {
	ID          string   `json:"id" yaml:",required"`
	Name        string   `json:"name" yaml:",required"`
	Description string   `json:"description" yaml:",required"`
	Tags        []string `json:"tags"`
	// Requires are the permissions that the offering asks of a platform:
	// syslog_drain, route_forwarding, volume_mount.
	Requires             []string         `json:"requires"`
	Bindable             bool             `json:"bindable" yaml:",required"`
	InstancesRetrievable bool             `json:"instances_retrievable"`
	BindingsRetrievable  bool             `json:"bindings_retrievable"`
	AllowContextUpdates  bool             `json:"allow_context_updates"`
	PlanUpdateable       bool             `json:"plan_updateable"`
	Metadata             json.RawMessage  `json:"metadata,omitempty" yaml:",raw"`
	DashboardClient      *dashboardClient `json:"dashboard_client,omitempty"`
	// Plans are in the file's order.
	Plans []*Plan `json:"plans" yaml:",required,raw"`
}

type dashboardClient struct {
	ID          string `json:"id" yaml:",required"`
	Secret      string `json:"secret" yaml:",required"`
	RedirectURI string `json:"redirect_uri" yaml:",required"`
}

// JSON returns the body of GET /v2/catalog (OSB 2.17, "Catalog Management"). It
// was encoded once; the caller must not change it.
func (c *Catalog) JSON() []byte { return c.json }

// ETag returns the strong entity tag of JSON, quoted (RFC 9110, section 8.8.3).
// Replicas with the same catalog have the same tag.
func (c *Catalog) ETag() string { return c.etag }

// LastModified returns the time of the file's last change in UTC and whole
// seconds, as in HTTP; the zero time if the catalog was not read from a file.
func (c *Catalog) LastModified() time.Time { return c.lastModified }

// Services returns the service offerings in the file's order.
func (c *Catalog) Services() []*Service { return c.services }

// Service returns the service offering with the ID.
func (c *Catalog) Service(id string) (*Service, bool) {
	s, ok := c.serviceByID[id]
	return s, ok
}

// Plan returns the plan with the ID if it is one of the service's.
func (c *Catalog) Plan(serviceID, planID string) (*Plan, bool) {
	p, ok := c.planByID[planID]
	if !ok || p.Service.ID != serviceID {
		return nil, false
	}
	return p, true
}

// Backends returns the backends in the file's order, those without a plan too.
func (c *Catalog) Backends() []Backend { return c.backends }

// PlansOf returns the plans on the backend of that name.
func (c *Catalog) PlansOf(backend string) []*Plan {
	var plans []*Plan
	for _, s := range c.services {
		for _, p := range s.Plans {
			if p.Backend == backend {
				plans = append(plans, p)
			}
		}
	}
	return plans
}

// Platforms returns the platforms that the file names; there may be none.
func (c *Catalog) Platforms() []Client { return c.platforms }

// Operators returns the clients that may read the metrics; there may be none.
func (c *Catalog) Operators() []Client { return c.operators }
