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
	code    *collector
}

// Open brings the database to this version, waiting for it up to ctx's deadline
// where that has one, and starts the workers. The runtime serves when Run runs.
func Open(ctx context.Context, o Options) (_ *Runtime, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &Runtime{Options: o}
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
	r.code = newCollector(r.Store, r.pool, o.Logger)
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
		Store: r.Store, Sealer: r.Sealer, Firer: firer{r.api}, Logger: r.Logger, Servers: r.MessageServers,
		Pace: feed.Pace{Grace: r.Grace},
	})
	if err != nil {
		return err
	}
	r.api.UseFeeds(r.feeds)
	return nil
}

// migrate waits for a database that is starting, too.
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

// Ready returns nil when the runtime would take a call now.
func (r *Runtime) Ready(ctx context.Context) error { return r.Store.Ready(ctx) }

// Run does what goes on beside requests until ctx ends: feeds, records, retention.
// Then it takes no more activations, gives those under way Grace to end, and
// returns when all records are written. It is called once; requests may be served
// from its beginning to its end.
func (r *Runtime) Run(ctx context.Context) error {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var recording, looking sync.WaitGroup
	recording.Go(func() { r.api.Run(late) })
	looking.Go(func() { r.Store.Listen(ctx, r.Logger, r.notice) })
	looking.Go(func() { sweeper{r.Store, r.Logger}.run(ctx) })
	looking.Go(func() { r.code.run(ctx) })
	looking.Go(func() { r.forget(ctx) })
	looking.Go(func() { r.feeds.Run(ctx) })
	looking.Go(func() { r.prepare(ctx) })
	<-ctx.Done()
	grace, end := context.WithTimeout(late, r.Grace)
	defer end()
	err := r.api.Close(grace)
	looking.Wait()
	cancel()
	recording.Wait()
	return err
}

// prepare has ready what the first of all calls would wait for.
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
		r.code.wake()
	}
}

// idle is how long metrics remember a namespace that nobody calls.
const idle = time.Hour

func (r *Runtime) forget(ctx context.Context) {
	tick := time.NewTicker(idle / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.metrics.forget(idle)
		}
	}
}

// Close ends the workers. Run has returned, or was not called.
func (r *Runtime) Close() error {
	if r.pool == nil {
		return nil
	}
	return r.pool.Close()
}
