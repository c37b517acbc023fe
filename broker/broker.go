// Package broker contains the rules of the lifecycle, one file for each verb. It knows
// neither HTTP nor any backend: requests arrive as brokerapi's types, and the work is
// done by durable operations.
package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Options are the parts of a Broker. Only Deliveries may be nil.
type Options struct {
	Catalog     *catalog.Catalog
	Store       *store.Store
	Engine      *operation.Engine
	Placement   *placement.Placement
	Credentials credhub.Store
	Deliveries  map[string]credhub.Delivery // by the catalog's name; nil: inline only
	Drivers     map[string]*services.Driver // by the servers' keys in the catalog
	Logger      *slog.Logger
	// AsyncWait is how long a request that accepts 202 waits for the operation first.
	AsyncWait time.Duration
	// SyncWait is how long any other request waits before the broker cancels the
	// operation. Platforms give up after 60 s.
	SyncWait time.Duration
}

// Broker decides about the requests of platforms, which CallerFrom names. Every error it
// returns is an *Error. It is safe for concurrent use, and any number of Brokers may work
// on one database.
type Broker struct {
	Options
	draining context.Context
	drain    context.CancelFunc
}

// New makes a Broker.
func New(o Options) *Broker {
	b := &Broker{Options: o}
	b.draining, b.drain = context.WithCancel(context.Background())
	return b
}

// Drain answers 202 to the waiting requests that accept it, before the process ends.
func (b *Broker) Drain() { b.drain() }

// Instance is the answer to the fetch of an instance.
type Instance struct {
	ServiceID       string                  `json:"service_id"`
	PlanID          string                  `json:"plan_id"`
	DashboardURL    string                  `json:"dashboard_url,omitempty"`
	Parameters      json.RawMessage         `json:"parameters,omitempty"`
	MaintenanceInfo domain.MaintenanceInfo  `json:"maintenance_info,omitzero"`
	Metadata        domain.InstanceMetadata `json:"metadata,omitzero"`
}

// Binding is the answer to a bind and to the fetch of a binding. brokerapi's type lacks the
// attributes, and has nulls.
type Binding struct {
	Metadata     BindingMetadata        `json:"metadata,omitzero"`
	Credentials  any                    `json:"credentials,omitempty"`
	VolumeMounts []services.VolumeMount `json:"volume_mounts,omitempty"`
	Endpoints    []services.Endpoint    `json:"endpoints,omitempty"`
	Parameters   json.RawMessage        `json:"parameters,omitempty"` // of a fetch only

	AlreadyExists bool   `json:"-"`
	OperationData string `json:"-"` // if it is not empty, the platform has to poll
}

// BindingMetadata is the specification's ("Binding Metadata Object"), with attributes as
// those of instances ("Vendor Extension Fields").
type BindingMetadata struct {
	domain.BindingMetadata
	Attributes map[string]any `json:"attributes,omitempty"`
}

// IsZero omits metadata that is empty.
func (m BindingMetadata) IsZero() bool { return m.IsEmpty() && len(m.Attributes) == 0 }

// Poll is the answer to the poll of an operation.
type Poll struct {
	State       store.State `json:"state"`
	Description string      `json:"description,omitempty"`
	// InstanceUsable and UpdateRepeatable are nil where the specification omits them.
	InstanceUsable   *bool `json:"instance_usable,omitempty"`
	UpdateRepeatable *bool `json:"update_repeatable,omitempty"`
	// RetryAfter is how long the platform should wait before it polls again; 0 if the
	// operation has ended.
	RetryAfter time.Duration `json:"-"`
}

// Rotation is a bind that replaces another binding of the same instance (OSB, "Binding
// rotation"); brokerapi's BindDetails lacks the predecessor.
type Rotation struct {
	PredecessorID string
	// ServiceID and PlanID may be empty: the predecessor alone is enough.
	ServiceID, PlanID string
	RawContext        json.RawMessage
}
