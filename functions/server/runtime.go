package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/openwhisk"
	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// Runtime is one of any number of runtimes on a database. It is safe for
// concurrent use.
type Runtime struct {
	Options
	pool    *sandbox.Pool
	api     *openwhisk.API
	feeds   *feed.Feeds
	metrics *metrics
	due     chan struct{} // for collect
}

// Open migrates the database, waiting for it up to ctx's deadline if there is one, and
// starts the workers. The runtime serves while Run runs.
func Open(ctx context.Context, o Options) (_ *Runtime, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &Runtime{Options: o, due: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := r.migrate(ctx); err != nil {
		return nil, err
	}
	if r.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(o.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("the folder of compiled code: %w", err)
	}
	if r.pool, err = sandbox.Open(ctx, sandbox.Options{Folder: folder, Command: o.WorkerCommand, Workers: o.Workers, Logger: o.Logger}); err != nil {
		return nil, err
	}
	return r, r.assemble()
}

// assemble makes the API and the feeds, which need each other.
func (r *Runtime) assemble() (err error) {
	r.api, err = openwhisk.New(openwhisk.Options{
		Store: r.Store, Sealer: r.Sealer, Runner: r.pool, Logger: r.Logger, APIHost: r.APIHost,
		Observe: r.metrics.observe, Running: int64(r.Activations),
	})
	if err != nil {
		return err
	}
	r.feeds, err = feed.Open(feed.Options{
		Store: r.Store, Sealer: r.Sealer, Firer: r.api, Logger: r.Logger, Servers: r.MessageServers,
		Pace: feed.Pace{Grace: r.Grace},
	})
	if err != nil {
		return err
	}
	r.api.UseFeeds(r.feeds)
	return nil
}

// migrate also waits for a database that is starting.
func (r *Runtime) migrate(ctx context.Context) error {
	for {
		err := r.Store.Migrate(ctx, r.Logger)
		if _, bounded := ctx.Deadline(); err == nil || !bounded || !state.Unavailable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Handler serves OpenWhisk's REST API below /api/v1.
func (r *Runtime) Handler() http.Handler { return r.api.Handler() }

// Contents copies what namespaces contain, for the administration.
func (r *Runtime) Contents() *openwhisk.API { return r.api }

// Ready returns nil when the runtime would take a call now.
func (r *Runtime) Ready(ctx context.Context) error { return r.Store.Ready(ctx) }

// Run does the background work until ctx ends: feeds, records, retention. Then it
// accepts no more activations, gives those in progress Grace to end, and returns when
// all records are written. It is called once; requests may be served while it runs.
func (r *Runtime) Run(ctx context.Context) error {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var recording, background sync.WaitGroup
	recording.Go(func() { r.api.Run(late) })
	background.Go(func() { r.Store.Listen(ctx, r.Logger, r.notice) })
	background.Go(func() { every(ctx, sweepEvery, nil, sweeper{r.Store, r.Logger}.run) })
	background.Go(func() { every(ctx, collectEvery, r.due, r.collect) })
	background.Go(func() { every(ctx, idle/10, nil, func(context.Context) { r.metrics.forget(idle) }) })
	background.Go(func() { r.feeds.Run(ctx) })
	background.Go(func() { r.prepare(ctx) })
	<-ctx.Done()
	grace, end := context.WithTimeout(late, r.Grace)
	defer end()
	err := r.api.Close(grace)
	background.Wait()
	cancel()
	recording.Wait()
	return err
}

// prepare compiles what the first call would wait for.
func (r *Runtime) prepare(ctx context.Context) {
	if err := r.pool.PrepareEngine(ctx); err != nil && ctx.Err() == nil {
		r.Logger.WarnContext(ctx, "the engine of JavaScript is not prepared", "error", err.Error())
	}
}

// notice takes a notification of the database.
func (r *Runtime) notice(n state.Notice) {
	r.feeds.Notice(n)
	if n.Channel == state.NamespaceEnded {
		r.metrics.ended(n.Payload)
	}
	if n.Channel != state.FeedsChanged {
		select {
		case r.due <- struct{}{}:
		default: // it is due already
		}
	}
}

// idle is how long metrics remember a namespace that nobody calls.
const idle = time.Hour

// every calls do at each interval, and when it is due, until ctx ends.
func every(ctx context.Context, interval time.Duration, due <-chan struct{}, do func(context.Context)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
		case <-tick.C:
		}
		do(ctx)
	}
}

// Close ends the workers. Run has returned, or was not called.
func (r *Runtime) Close() error {
	if r.pool == nil {
		return nil
	}
	return r.pool.Close()
}
