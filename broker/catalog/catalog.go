// Package catalog turns catalog.yml into a checked, immutable Catalog. Whatever
// is wrong with the file is found before the broker serves it, and reported
// together: file, line, path, what is wrong and what to do.
package catalog

import (
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/services"
)

// Catalog is what the broker offers, who may ask for it and which backends make
// it. It never changes, and is safe for concurrent use.
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

	serviceByID map[string]*Service
	planByID    map[string]*Plan
}

// Backend is a configured backend: several may share one definition.
type Backend struct {
	// Name is the key under "backends", which plans refer to.
	Name       string
	Definition services.Definition
	// Servers are where its instances are, one at least.
	Servers []Server
}

// DefaultPlatform is the name of the platform that the environment names, where
// the file names none.
const DefaultPlatform = "default"

// Service is a service offering (OSB 2.17, "Service Offering Object").
type Service struct {
	ID, Name             string
	AllowContextUpdates  bool
	InstancesRetrievable bool
	BindingsRetrievable  bool
	// Requires are the permissions that the offering asks of a platform:
	// syslog_drain, route_forwarding, volume_mount.
	Requires []string
	// Plans are in the file's order.
	Plans []*Plan
}

// JSON returns the body of GET /v2/catalog (OSB 2.17, "Catalog Management"). It
// was encoded once; the caller must not change it.
func (c *Catalog) JSON() []byte { return c.json }

// ETag returns the strong entity tag of JSON, quoted (RFC 9110, section 8.8.3).
// Replicas with the same catalog have the same tag.
func (c *Catalog) ETag() string { return c.etag }

// LastModified returns the time of the file's last change in UTC and whole
// seconds, as HTTP has them; the zero time for a catalog that is no file.
func (c *Catalog) LastModified() time.Time { return c.lastModified }

// Domain returns the services in brokerapi's types, a copy of the caller's own.
// The types lack what came late to the specification: binding_rotatable.
func (c *Catalog) Domain() []domain.Service {
	services, _ := decodeDomain(c.json) // it did decode when the catalog was made
	return services
}

// Services returns the service offerings in the file's order.
func (c *Catalog) Services() []*Service { return c.services }

// Service returns the service offering with the ID.
func (c *Catalog) Service(id string) (*Service, bool) {
	s, ok := c.serviceByID[id]
	return s, ok
}

// Plan returns the plan with the ID where it is one of the service's.
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
