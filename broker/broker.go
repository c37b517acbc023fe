// Package broker holds the rules of the lifecycle, a file a verb. It knows
// neither HTTP nor any backend: requests come in as brokerapi's types, work
// goes out as durable operations.
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

// Options is what a Broker is made of; all but Deliveries is needed.
type Options struct {
	Catalog     *catalog.Catalog
	Store       *store.Store
	Engine      *operation.Engine
	Placement   *placement.Placement
	Credentials credhub.Store
	Deliveries  map[string]credhub.Delivery // by the catalog's name; none: inline only
	Drivers     map[string]*services.Driver // by the servers' keys in the catalog
	Logger      *slog.Logger
	// AsyncWait is how long a request that allows asynchronous work waits for
	// the operation before it answers 202.
	AsyncWait time.Duration
	// SyncWait is how long a request that does not allow it waits before the
	// operation is cancelled. Platforms give up after 60 s.
	SyncWait time.Duration
}

// Broker implements domain.ServiceBroker. Every error it returns is an *Error.
// It is safe for concurrent use, and any number of them may work on one
// database.
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

// Drain makes requests that allow asynchronous work be answered at once, before
// the process ends.
func (b *Broker) Drain() { b.drain() }

// InstanceDetails is what a fetch of an instance tells; brokerapi's type lacks
// the maintenance information.
type InstanceDetails struct {
	domain.GetInstanceDetailsSpec
	// MaintenanceVersion is the version the instance is on; empty where its
	// plan has none.
	MaintenanceVersion string
}

// Poll is what a poll of an operation tells; brokerapi's type lacks all but the
// first two fields.
type Poll struct {
	domain.LastOperation
	// RetryAfter is how long the platform should wait before it polls again;
	// zero once the operation ended.
	RetryAfter time.Duration
	// InstanceUsable and UpdateRepeatable are nil where the specification
	// wants them left out.
	InstanceUsable, UpdateRepeatable *bool
}

// Reference is what a binding has in place of credentials that its application
// reads elsewhere. Its JSON is that of Values.
type Reference struct {
	Values map[string]any
	// Attributes are for the answer's metadata, which brokerapi's type has no room
	// for.
	Attributes map[string]any
}

// MarshalJSON implements json.Marshaler.
func (r Reference) MarshalJSON() ([]byte, error) { return json.Marshal(r.Values) }

// Rotation is a bind that replaces another binding of the same instance (OSB,
// "Binding rotation"); brokerapi's BindDetails lacks the predecessor.
type Rotation struct {
	PredecessorID string
	// ServiceID and PlanID may be empty: the body may carry the predecessor
	// only.
	ServiceID, PlanID string
	RawContext        json.RawMessage
}
