// Package operation runs the lifecycle's work durably. An operation is a row
// and a River job that are committed together by whoever accepts it; any
// replica works it off, in turns that may be repeated after any crash, until
// it succeeded, or failed and was undone, or its deadline passed.
package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// upkeepQueue keeps the engine's own jobs from waiting behind operations.
	upkeepQueue = "upkeep"
)

// Options is what an Engine is made of.
type Options struct {
	Store       *store.Store
	Catalog     *catalog.Catalog
	Drivers     map[string]services.Driver // by the backend's name in the catalog
	Credentials credhub.Store
	Logger      *slog.Logger
	// Workers is how many operations of each backend this replica works on at
	// once: a backend that hangs keeps its own workers only.
	Workers int
	// Retention is how long ended operations are remembered; the
	// specification's platforms count on 72 h (OSB, "Polling Last Operation").
	Retention time.Duration
	// KeepEvery is how often backends look after what they made.
	KeepEvery time.Duration
	// Finished is told of every operation that this replica ended.
	Finished func(store.Operation)
}

// Engine accepts operations and works them off. It is safe for concurrent use.
type Engine struct {
	Options
	client *river.Client[pgx.Tx]
	waits  waits
	turns  turns

	background context.CancelFunc
	done       sync.WaitGroup
}

// New makes an Engine that accepts operations; Start makes it work on them.
func New(o Options) (*Engine, error) {
	e := &Engine{Options: o}
	workers := river.NewWorkers()
	river.AddWorker(workers, &operationWorker{engine: e})
	river.AddWorker(workers, &keepWorker{engine: e})
	river.AddWorker(workers, &pruneWorker{engine: e})
	client, err := river.NewClient(riverpgxv5.New(o.Store.Queue), &river.Config{
		Queues:       e.queues(),
		Workers:      workers,
		PeriodicJobs: e.periodicJobs(),
		Logger:       quiet(o.Logger),
		// A commit wakes a worker at once; the default cool-down would make
		// every operation of an idle broker take 100 ms.
		FetchCooldown:     time.Millisecond,
		FetchPollInterval: 500 * time.Millisecond,
		// An operation's turn may hold several steps, each with its own limit;
		// River's rescue is the second net below the sweeper.
		JobTimeout:                  3 * stepTime,
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
	queues := map[string]river.QueueConfig{upkeepQueue: {MaxWorkers: 2}}
	for backend := range e.Drivers {
		queues[queueOf(backend)] = river.QueueConfig{MaxWorkers: e.Workers}
	}
	return queues
}

// queueOf is the queue of a backend's operations, in the characters that River
// allows. A replica whose catalog lacks the backend leaves them to others.
func queueOf(backend string) string { return "backend_" + strings.ReplaceAll(backend, ".", "_") }

// Start works on operations until Stop.
func (e *Engine) Start(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.background = cancel
	e.done.Go(func() { e.listen(background) })
	e.done.Go(func() { e.sweep(background) })
	if err := e.client.Start(background); err != nil {
		cancel()
		return fmt.Errorf("start the job queue: %w", err)
	}
	return nil
}

// Stop lets the turns that are under way end, up to ctx's deadline, and then
// interrupts them; another replica, or the next start, goes on with them.
func (e *Engine) Stop(ctx context.Context) error {
	err := e.client.Stop(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 1500*time.Millisecond)
		defer cancel()
		err = e.client.StopAndCancel(hard)
	}
	e.background()
	e.done.Wait()
	return err
}

func (e *Engine) driver(p *catalog.Plan) (services.Driver, error) {
	d, ok := e.Drivers[p.Backend]
	if !ok {
		return nil, fmt.Errorf("backend %q is not open", p.Backend)
	}
	return d, nil
}

func (e *Engine) plan(serviceID, planID string) (*catalog.Plan, error) {
	p, ok := e.Catalog.Plan(serviceID, planID)
	if !ok {
		return nil, fmt.Errorf("plan %q of service %q is not in the catalog any more", planID, serviceID)
	}
	return p, nil
}

// quiet passes on River's warnings and errors only: it tells of every start and
// stop of its parts otherwise.
func quiet(l *slog.Logger) *slog.Logger { return slog.New(warnings{l.Handler()}) }

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(n string) slog.Handler      { return warnings{w.Handler.WithGroup(n)} }
