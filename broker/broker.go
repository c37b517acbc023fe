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

// InstanceDetails describes an instance; brokerapi's type lacks the maintenance version.
type InstanceDetails struct {
	domain.GetInstanceDetailsSpec
	MaintenanceVersion string // empty if the plan has none
}

// Poll describes an operation; brokerapi's type lacks all but the first two fields.
type Poll struct {
	domain.LastOperation
	// RetryAfter is how long the platform should wait before it polls again; 0 if the
	// operation has ended.
	RetryAfter time.Duration
	// InstanceUsable and UpdateRepeatable are nil where the specification omits them.
	InstanceUsable, UpdateRepeatable *bool
}

// Reference replaces credentials that the application reads elsewhere. Its JSON is that
// of Values.
type Reference struct {
	Values map[string]any
	// Attributes belong to the answer's metadata, which brokerapi's type lacks.
	Attributes map[string]any
}

// MarshalJSON implements json.Marshaler.
func (r Reference) MarshalJSON() ([]byte, error) { return json.Marshal(r.Values) }

// Rotation is a bind that replaces another binding of the same instance (OSB, "Binding
// rotation"); brokerapi's BindDetails lacks the predecessor.
type Rotation struct {
	PredecessorID string
	// ServiceID and PlanID may be empty: the predecessor alone is enough.
	ServiceID, PlanID string
	RawContext        json.RawMessage
}
