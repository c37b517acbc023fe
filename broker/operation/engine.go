// Package operation runs the lifecycle's work durably. An operation is a row
// and a River job that are committed together by whoever accepts it; any
// replica works it off, in turns that may be repeated after any crash, until
// it succeeded, or failed and was undone, or its deadline passed.
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
	// jobTime is how long a job may take, which holds several steps.
	jobTime = 3 * stepTime
	// maintenanceQueue keeps the engine's own jobs from waiting behind operations.
	maintenanceQueue = "upkeep"
)

// Options is what an Engine is made of.
type Options struct {
	Store       *store.Store
	Catalog     *catalog.Catalog
	Drivers     map[string]*services.Driver // by the servers' keys in the catalog; nil: the engine only accepts
	Credentials credhub.Store
	Deliveries  map[string]credhub.Delivery // by the name that bindings have; none: inline only
	Logger      *slog.Logger
	// Workers is how many operations of each server this replica works on at
	// once: a server that hangs keeps its own workers only.
	Workers int
	// Retention is how long ended operations are remembered; the
	// specification's platforms count on 72 h (OSB, "Polling Last Operation").
	Retention time.Duration
	// AuditRetention is how long the audit record is kept; 0: for ever.
	AuditRetention time.Duration
	// ReconcileEvery is the interval of reconciliation, by backends and by the engine.
	ReconcileEvery time.Duration
	// VerifyEvery is how often the credentials of all bindings are verified, where
	// there are few: ten minutes where it is 0.
	VerifyEvery time.Duration
	// RedeleteAfter is how long after a binding's end its secrets are deleted once
	// more: longer than a write to the credential store may be under way.
	RedeleteAfter time.Duration
	// OnFinished is told of every operation that this replica ended.
	OnFinished func(store.Operation)
}

// Engine accepts operations and works them off. It is safe for concurrent use.
type Engine struct {
	Options
	client  *river.Client[pgx.Tx]
	waiters waiters
	running runningSteps
	direct  *direct
	// reconcileRounds are the rounds over instances, by the server's key.
	reconcileRounds map[string]*round

	background context.CancelFunc
	goroutines sync.WaitGroup
}

// New makes an Engine that accepts operations; Start makes it work on them.
func New(o Options) (*Engine, error) {
	if o.Credentials != nil { // an engine without only accepts
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
	river.AddWorker(workers, &operationWorker{engine: e})
	river.AddWorker(workers, legacyReconcileWorker{})
	river.AddWorker(workers, &pruneWorker{engine: e})
	client, err := river.NewClient(riverpgxv5.New(o.Store.Queue), &river.Config{
		Queues:       e.queues(),
		Workers:      workers,
		PeriodicJobs: e.periodicJobs(),
		Logger:       warningsOnly(o.Logger),
		// A commit wakes a worker at once; the default cool-down would make
		// every operation of an idle broker take 100 ms.
		FetchCooldown:     time.Millisecond,
		FetchPollInterval: 500 * time.Millisecond,
		// An operation's turn may hold several steps, each with its own limit;
		// River's rescue is the second net below the sweeper.
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

// queueName is a name that River takes, of the length that it takes.
var queueName = regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)

const maxQueueName = 64

// queueOf is the queue of a server's operations, by its key. A replica whose
// catalog lacks the server leaves them to others.
func queueOf(server string) string {
	name := "backend_" + strings.ReplaceAll(server, ".", "_")
	if queueName.MatchString(name) && len(name) <= maxQueueName {
		return name
	}
	sum := sha256.Sum256([]byte(server))
	return "server_" + hex.EncodeToString(sum[:16])
}

// Start works on operations until Stop.
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

// Stop lets the turns that are under way end, up to ctx's deadline, and then
// interrupts them; another replica, or the next start, goes on with them.
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

// driver is that of the server which an instance of the plan is on.
func (e *Engine) driver(p *catalog.Plan, server string) (*services.Driver, error) {
	key := catalog.ServerKey(p.Backend, server)
	d, ok := e.Drivers[key]
	if !ok {
		return nil, fmt.Errorf("server %q is not open", key)
	}
	return d, nil
}

// driverOf is that of an instance. One that another backend made than the catalog
// says is left alone: this backend has nothing of it, and would report success.
func (e *Engine) driverOf(i store.Instance, p *catalog.Plan) (*services.Driver, error) {
	if err := p.CheckBackend(i.Backend, i.BackendType); err != nil {
		return nil, fmt.Errorf("instance %s: %w", i.ID, err)
	}
	return e.driver(p, i.Server)
}

func (e *Engine) plan(serviceID, planID string) (*catalog.Plan, error) {
	p, ok := e.Catalog.Plan(serviceID, planID)
	if !ok {
		return nil, fmt.Errorf("plan %q of service %q is not in the catalog any more", planID, serviceID)
	}
	return p, nil
}

// warningsOnly passes on River's warnings and errors only: it tells of every start and
// stop of its parts otherwise.
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
