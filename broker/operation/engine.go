// Package operation does the lifecycle's work durably. An operation is a row in the state.
// Any replica attempts it, again after any crash, until it succeeds, or fails and is undone,
// or its deadline passes.
package operation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

const (
	// stepTime is how long one call of a backend may take.
	stepTime = 30 * time.Second
	// jobTime is how long a job may take, which runs several steps.
	jobTime = 3 * stepTime
	// maintenanceQueue is for the engine's own jobs, which must not wait for operations.
	maintenanceQueue = "upkeep"
)

// Options are the parts of an Engine.
type Options struct {
	Store       *store.Store
	Catalog     *catalog.Catalog
	Drivers     map[string]*services.Driver // by the servers' keys in the catalog; nil: the engine only accepts
	Credentials credhub.Store
	Deliveries  map[string]credhub.Delivery // by the name that bindings have; nil: inline only
	Logger      *slog.Logger
	// Workers is how many operations of each server this replica attempts at once: a
	// server that hangs blocks only its own workers.
	Workers int
	// Retention is how long ended operations are recorded; platforms may rely on 72 h
	// (OSB, "Polling Last Operation").
	Retention time.Duration
	// AuditRetention is the retention of the audit record; 0: unlimited.
	AuditRetention time.Duration
	// ReconcileEvery is the interval of reconciliation, by backends and by the engine.
	ReconcileEvery time.Duration
	// VerifyEvery is how often the credentials of all bindings are verified, if there
	// are few; 0: ten minutes.
	VerifyEvery time.Duration
	// RedeleteAfter is how long after a binding's end its secrets are deleted a second
	// time: longer than any write to the credential store takes.
	RedeleteAfter time.Duration
	// OnCopy, if not nil, is called with the ID of every copy that any replica made due or
	// cancelled. It must not block.
	OnCopy func(copyID string)
	// OnFinished, if not nil, is called with every operation that this replica ended.
	OnFinished func(store.Operation)
}

// Engine accepts and attempts operations. It is safe for concurrent use.
type Engine struct {
	Options
	client  *river.Client[pgx.Tx]
	waiters sync.Map // of operations' IDs, by the channels of those who wait for them
	running sync.Map // of context.CancelCauseFunc: the steps in this process, by operation
	direct  *direct
	// reconcileRounds are the rounds over instances, by the server's key.
	reconcileRounds map[string]*round

	background context.CancelFunc
	goroutines sync.WaitGroup
}

// New makes an Engine that accepts operations; after Start it attempts them.
func New(o Options) (*Engine, error) {
	if o.Credentials != nil {
		o.Credentials = completingStore{o.Credentials, o.Logger}
	}
	deliveries := map[string]credhub.Delivery{}
	for name, d := range o.Deliveries {
		deliveries[name] = completingDelivery{d, o.Logger}
	}
	o.Deliveries = deliveries
	o.VerifyEvery = cmp.Or(o.VerifyEvery, verifyEvery)
	e := &Engine{Options: o}
	e.direct = newDirect(e)
	e.reconcileRounds = e.newReconcileRounds()
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(e.work))
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[legacyReconcile]) error { return nil }))
	river.AddWorker(workers, river.WorkFunc(e.prune))
	client, err := river.NewClient(riverpgxv5.New(o.Store.Queue), &river.Config{
		Queues:       e.queues(),
		Workers:      workers,
		PeriodicJobs: e.periodicJobs(),
		Logger:       warningsOnly(o.Logger),
		// A commit wakes a worker at once; with the default, every operation of an
		// idle broker would take 100 ms.
		FetchCooldown:     time.Millisecond,
		FetchPollInterval: 500 * time.Millisecond,
		// The sweeper rescues jobs first.
		JobTimeout:                  jobTime,
		RescueStuckJobsAfter:        4 * stepTime,
		CompletedJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: time.Hour,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the job queue: %w", err)
	}
	e.client = client
	return e, nil
}

func (e *Engine) queues() map[string]river.QueueConfig {
	queues := map[string]river.QueueConfig{maintenanceQueue: {MaxWorkers: 2}}
	for server := range e.Drivers {
		queues[queueOf(server)] = river.QueueConfig{MaxWorkers: e.Workers}
	}
	return queues
}

// queueName and maxQueueName are River's rules.
var queueName = regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)

const maxQueueName = 64

// queueOf returns the queue of a server's operations, by its key. A replica whose catalog
// lacks the server leaves them to others.
func queueOf(server string) string {
	name := "backend_" + strings.ReplaceAll(server, ".", "_")
	if queueName.MatchString(name) && len(name) <= maxQueueName {
		return name
	}
	sum := sha256.Sum256([]byte(server))
	return "server_" + hex.EncodeToString(sum[:16])
}

// Start attempts operations until Stop.
func (e *Engine) Start(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.background = cancel
	if err := e.recordBackends(ctx); err != nil {
		cancel()
		return err
	}
	e.goroutines.Go(func() { e.listen(background) })
	e.goroutines.Go(func() { e.sweep(background) })
	e.goroutines.Go(func() { e.redeleteSecrets(background) })
	for _, r := range e.reconcileRounds {
		e.goroutines.Go(func() { e.runRound(background, r) })
	}
	for _, r := range e.newVerifyRounds() {
		e.goroutines.Go(func() { e.runRound(background, r) })
	}
	if err := e.client.Start(background); err != nil {
		cancel()
		return fmt.Errorf("start the job queue: %w", err)
	}
	e.direct.start(background)
	return nil
}

// Stop waits for running attempts until ctx's deadline, and then interrupts them. Another
// replica, or the next start, continues their operations.
func (e *Engine) Stop(ctx context.Context) error {
	direct := make(chan struct{})
	go func() { defer close(direct); e.direct.stop(ctx) }()
	err := e.client.Stop(ctx)
	<-direct
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 1500*time.Millisecond)
		defer cancel()
		err = e.client.StopAndCancel(hard)
	}
	e.background()
	e.goroutines.Wait()
	return err
}

// driver returns the driver of one of the plan's servers.
func (e *Engine) driver(p *catalog.Plan, server string) (*services.Driver, error) {
	key := catalog.ServerKey(p.Backend, server)
	d, ok := e.Drivers[key]
	if !ok {
		return nil, fmt.Errorf("server %q is not open", key)
	}
	return d, nil
}

// driverOf returns an instance's driver. It fails if another backend made the instance than
// the catalog says: that backend would find nothing to delete, and report success.
func (e *Engine) driverOf(i store.Instance, p *catalog.Plan) (*services.Driver, error) {
	if err := p.CheckBackend(i.Backend, i.BackendType); err != nil {
		return nil, fmt.Errorf("instance %s: %w", i.ID, err)
	}
	return e.driver(p, i.Server)
}

func (e *Engine) plan(serviceID, planID string) (*catalog.Plan, error) {
	p, ok := e.Catalog.Plan(serviceID, planID)
	if !ok {
		return nil, fmt.Errorf("plan %q of service %q is no longer in the catalog", planID, serviceID)
	}
	return p, nil
}

// warningsOnly logs River's warnings and errors only, not every start and stop of its parts.
func warningsOnly(l *slog.Logger) *slog.Logger { return slog.New(warningHandler{l.Handler()}) }

type warningHandler struct{ slog.Handler }

func (w warningHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warningHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return warningHandler{w.Handler.WithAttrs(a)}
}
func (w warningHandler) WithGroup(n string) slog.Handler {
	return warningHandler{w.Handler.WithGroup(n)}
}
