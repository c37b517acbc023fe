package brokertest

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

// The catalog has a service with a plan for each behaviour.
const (
	Service      = "service-id"
	Small        = "plan-small"     // everything on
	Large        = "plan-large"     // the same, for changing plans
	Fixed        = "plan-fixed"     // no change of plan, no binding, no maintenance version
	Slow         = "plan-slow"      // requires_async
	AppOnly      = "plan-app"       // requires_app, no rotation
	Cascading    = "plan-cascade"   // cascade
	Short        = "plan-short"     // operations have 4 s
	Expiring     = "plan-expiring"  // bindings are good for 720 h, to be renewed 168 h before
	Retaining    = "plan-keeping"   // deleted instances are retained for 168 h
	Delivered    = "plan-delivered" // credentials are delivered by credhub-ref
	Pooled       = "plan-pooled"    // on a pool of servers: one and two with room for 3 instances and 12 kB each, and drained
	PooledLarge  = "plan-pooled-l"  // takes 8 kB instead of 2
	OtherService = "other-service-id"
	OtherPlan    = "other-plan-id"
	Volume       = "volume-service-id"
	VolumePlan   = "volume-plan-id"      // its bindings come with a volume mount
	BackedUp     = "plan-backed-up"      // 2 backups on demand, scheduled ones, which are verified, and 720 h after its instance's deletion
	BackedUpTwin = "plan-backed-up-twin" // 1 backup on demand, 1 kB
	Held         = "plan-held"           // as BackedUp, but the servers hold the backups: h-one and h-two
	HeldTiny     = "plan-held-tiny"      // takes 1 kB instead of 2, which no backup fits
	BackedUpKept = "plan-backed-up-kept" // the same, and deleted instances are retained for 168 h
	BackedUpPool = "plan-backed-up-pool" // the same, on a pool of servers
)

const catalogYAML = `
backups:
  store: {endpoint: "https://s3.example.com", bucket: backups, access_key_id: id, secret_access_key: secret}
delivery:
  credhub-ref: {url: "https://credhub.example.com"}
backends:
  memory: {type: database/memory, config: {}}
  volumes: {type: filesystem/memory, config: {}}
  pool:
    type: database/memory
    servers:
      one: {config: {pooled: true}, capacity: {instances: 3, storage: 12kB}}
      two: {config: {pooled: true}, capacity: {instances: 3, storage: 12kB}}
      drained: {config: {pooled: true}, capacity: {instances: 3, storage: 12kB}, drain: true}
  holder:
    type: database/holder
    servers:
      h-one: {config: {}, capacity: {instances: 100}}
      h-two: {config: {}, capacity: {instances: 100}}
services:
- id: service-id
  name: memory
  description: Rooms in memory
  bindable: true
  plan_updateable: true
  instances_retrievable: true
  bindings_retrievable: true
  allow_context_updates: true
  plans:
  - {id: plan-small, name: small, description: Small, backend: memory, config: {size: 1}, binding_rotatable: true, endpoints: true,
     maintenance_info: {version: 1.2.3, description: First}, dashboard_url: "https://dashboard.example.com/{instance_id}"}
  - {id: plan-large, name: large, description: Large, backend: memory, config: {size: 2}, binding_rotatable: true, maintenance_info: {version: 2.0.0}}
  - {id: plan-fixed, name: fixed, description: Fixed, backend: memory, config: {}, plan_updateable: false, bindable: false}
  - {id: plan-slow, name: slow, description: Slow, backend: memory, config: {}, requires_async: true}
  - {id: plan-app, name: app, description: For applications, backend: memory, config: {}, requires_app: true}
  - {id: plan-cascade, name: cascade, description: Cascading, backend: memory, config: {}, cascade: true}
  - {id: plan-short, name: short, description: Short-lived operations, backend: memory, config: {}, maximum_polling_duration: 4}
  - {id: plan-expiring, name: expiring, description: Expiring bindings, backend: memory, config: {}, binding_rotatable: true,
     binding_lifetime: 720h, binding_renew_before: 168h}
  - {id: plan-keeping, name: keeping, description: Kept after deletion, backend: memory, config: {}, cascade: true, keep_deleted: 168h,
     maintenance_info: {version: 1.0.0}}
  - {id: plan-pooled, name: pooled, description: On one of several servers, backend: pool, config: {size: 2}}
  - {id: plan-pooled-l, name: pooled-large, description: On one of several servers, backend: pool, config: {size: 8}}
  - {id: plan-delivered, name: delivered, description: Credentials are delivered, backend: memory, config: {}, binding_rotatable: true, delivery: credhub-ref}
  - {id: plan-backed-up, name: backed-up, description: With backups, backend: memory, config: {size: 2},
     backups: {schedule: "15 3 * * *", time_zone: Europe/Berlin, keep: {last: 2}, on_demand: 2, verify: 168h, after_delete: 720h}}
  - {id: plan-backed-up-twin, name: backed-up-twin, description: With backups on demand, backend: memory, config: {size: 1}, backups: {on_demand: 1}}
  - {id: plan-held, name: held, description: With backups that the server holds, backend: holder, config: {size: 2},
     backups: {schedule: "15 3 * * *", keep: {last: 2}, on_demand: 2, verify: 168h, after_delete: 720h}}
  - {id: plan-held-tiny, name: held-tiny, description: With backups that the server holds, backend: holder, config: {size: 1}, backups: {on_demand: 1}}
  - {id: plan-backed-up-kept, name: backed-up-kept, description: With backups, backend: memory, config: {size: 1}, keep_deleted: 168h, backups: {on_demand: 1}}
  - {id: plan-backed-up-pool, name: backed-up-pool, description: With backups, backend: pool, config: {size: 1}, backups: {on_demand: 1}}
- id: other-service-id
  name: other
  description: Another service
  bindable: true
  plans:
  - {id: other-plan-id, name: only, description: Only, backend: memory, config: {}}
- id: volume-service-id
  name: volume
  description: Volumes in memory
  bindable: true
  bindings_retrievable: true
  requires: [volume_mount]
  plans:
  - {id: volume-plan-id, name: share, description: Share, backend: volumes, config: {}}
`

// Harness is a whole broker, ready to be called.
type Harness struct {
	*broker.Broker
	Backend     *Backend
	Memory      *credtest.Memory
	Delivered   *credtest.Memory // what is delivered by credhub-ref
	DatabaseURL string
	Archive     *Archive
	Runner      *backup.Runner
	stop        sync.Once
}

// Options changes what New makes; the zero value is fine.
type Options struct {
	// DatabaseURL is required: that of Database, or that of another harness, of which
	// this one is then a replica.
	DatabaseURL string
	// Backend, Credentials and Delivered are those of another replica, or new ones.
	Backend     *Backend
	Credentials *credtest.Memory
	Delivered   *credtest.Memory
	// Archive is that of another replica, or a new one; Backups is used instead if it is
	// not nil.
	Archive *Archive
	Backups backup.Archive
	// Store stores the credentials instead of memory.
	Store  credhub.Store
	Logger *slog.Logger
	// Sections are added to the catalog, such as quotas.
	Sections string
	// NoWork leaves the engine's work to other replicas, until Work.
	NoWork              bool
	AsyncWait, SyncWait time.Duration // 50 s each, for a busy machine
	Retention           time.Duration // 72 h
	AuditRetention      time.Duration // for ever
	RedeleteAfter       time.Duration // 5 min
	VerifyEvery         time.Duration // 10 min
}

// Database makes a database for t alone with the state's tables.
func Database(t testing.TB) (url string) {
	t.Helper()
	return embeddedtest.DatabaseFrom(t, "chandler_state", func(url string) error {
		s, err := store.Open(context.Background(), url, 4)
		if err != nil {
			return err
		}
		defer s.Close()
		return s.Migrate(context.Background(), slog.New(slog.DiscardHandler))
	})
}

// New makes a Harness that ends with the test.
func New(t testing.TB, o Options) *Harness {
	t.Helper()
	ctx := context.Background()
	h := &Harness{Backend: o.Backend, Memory: o.Credentials, Delivered: o.Delivered, DatabaseURL: o.DatabaseURL}
	if h.Backend == nil {
		h.Backend = NewBackend()
	}
	h.Memory = cmp.Or(h.Memory, &credtest.Memory{})
	h.Delivered = cmp.Or(h.Delivered, &credtest.Memory{})
	if h.Archive = o.Archive; h.Archive == nil {
		h.Archive = NewArchive()
	}
	if o.Backups == nil {
		o.Backups = h.Archive
	}
	if o.Store == nil {
		o.Store = h.Memory
	}
	deliveries := map[string]credhub.Delivery{credhub.CredHubRef: Delivery{h.Delivered}}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.AsyncWait = cmp.Or(o.AsyncWait, 50*time.Second)
	o.SyncWait = cmp.Or(o.SyncWait, 50*time.Second)
	o.Retention = cmp.Or(o.Retention, 72*time.Hour)
	o.RedeleteAfter = cmp.Or(o.RedeleteAfter, 5*time.Minute)
	check := func(doing string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
	}
	memory, volumes, holder := h.Backend.Definition(), h.Backend.VolumeDefinition(), h.Backend.HolderDefinition()
	c, err := catalog.Parse("catalog.yml", []byte(catalogYAML+o.Sections), []services.Definition{memory, volumes, holder}, func(string) (string, bool) { return "", false })
	check("catalog", err)
	state, err := store.Open(ctx, o.DatabaseURL, 40)
	check("open the state", err)
	t.Cleanup(state.Close)
	check("migrate", state.Migrate(ctx, o.Logger))
	drivers := map[string]*services.Driver{}
	for _, s := range c.Servers() {
		var around []services.Around
		if s.Name != catalog.DefaultServer {
			around = append(around, h.Backend.onServer(s.Name))
		}
		drivers[s.Key()], err = s.Definition.Open(ctx, s.Config, around...)
		check("open the backend", err)
	}
	h.Runner = backup.NewRunner(backup.RunnerOptions{
		Store: state, Catalog: c, Drivers: drivers, Credentials: o.Store, Archive: o.Backups, Logger: o.Logger, AtOnce: 2, Every: 500 * time.Millisecond, SweepEvery: time.Second,
	})
	engine, err := operation.New(operation.Options{
		OnCopy: h.Runner.Changed,
		Store:  state, Catalog: c, Drivers: drivers, Credentials: o.Store, Deliveries: deliveries, Logger: o.Logger,
		Workers: 16, Retention: o.Retention, AuditRetention: o.AuditRetention, ReconcileEvery: time.Second, RedeleteAfter: o.RedeleteAfter, VerifyEvery: o.VerifyEvery,
	})
	check("make the engine", err)
	servers := placement.New(placement.Options{Catalog: c, Store: state, Drivers: drivers, Logger: o.Logger, CheckEvery: 100 * time.Millisecond})
	watching, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	servers.Watch(watching)
	h.Broker = broker.New(broker.Options{
		Catalog: c, Store: state, Engine: engine, Placement: servers, Credentials: o.Store, Deliveries: deliveries, Drivers: drivers, Logger: o.Logger,
		AsyncWait: o.AsyncWait, SyncWait: o.SyncWait,
	})
	if !o.NoWork {
		h.Work(t)
	}
	return h
}

// Authenticator authenticates these platforms.
func Authenticator(t testing.TB, platforms ...catalog.Client) *auth.Authenticator {
	t.Helper()
	d, err := auth.New(auth.Options{Clients: platforms, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Work starts the engine of a harness made with NoWork.
func (h *Harness) Work(t testing.TB) {
	t.Helper()
	if err := h.Engine.Start(context.Background()); err != nil {
		t.Fatalf("start the engine: %v", err)
	}
	h.Runner.Start(context.Background())
	t.Cleanup(func() { h.Stop() })
}

// Stop stops the engine: running attempts have 3 s to end. It may be called again.
func (h *Harness) Stop() {
	h.stop.Do(func() {
		limited, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		h.Runner.Stop()
		_ = h.Engine.Stop(limited) // fails if attempts had to be interrupted
	})
}

// CallerContext returns a context of a request from the platform "cf".
func CallerContext() context.Context { return ContextOf("cf") }
