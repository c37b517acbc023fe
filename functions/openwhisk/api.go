// Package openwhisk serves Apache OpenWhisk's REST API, version 1, from the state database,
// which any number of runtimes share. Where OpenWhisk's documentation and its controller
// differ, it follows the controller. A namespace occupies no memory while nothing of it runs.
package openwhisk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// Runner runs actions; *sandbox.Pool implements it.
type Runner interface {
	// Run runs one activation to its end, or its time limit.
	Run(ctx context.Context, call sandbox.Call) (sandbox.Outcome, error)
	// Prepare checks code and compiles it. A *sandbox.CodeError is caused by the user's code.
	Prepare(ctx context.Context, code sandbox.Code) error
	// Forget deletes the compiled code of that hash.
	Forget(hash string) error
}

// Feeds are the actions of namespace whisk.system; *feed.Feeds implements it.
type Feeds interface {
	// Invoke runs an action such as "alarms/once" for a namespace, and returns its result, a
	// JSON object. A *feed.Refusal is caused by the parameters.
	Invoke(ctx context.Context, namespace, action string, params json.RawMessage) (json.RawMessage, error)
	feedCopier
}

// Observation describes an ended activation, for metrics.
type Observation struct {
	Namespace, Plan string
	Kind            string // such as "nodejs:default", "sequence" or "trigger"
	Status          string // one of Statuses
	// Ran says that the code ran in the sandbox, and Cold that it was loaded first, in Init.
	Ran, Cold            bool
	Wait, Init, Duration time.Duration
}

// Options configures the API. Observe and the numbers are optional.
type Options struct {
	Store   *state.Store
	Sealer  *state.Sealer
	Runner  Runner
	Logger  *slog.Logger
	APIHost string            // the URL, without a path, at which actions call the API
	Observe func(Observation) // called at the end of every activation; must not block
	Running int64             // limits concurrent activations in this runtime (1000)
	// Limits of memory, in bytes: for requests that carry code (256 MB), for lists with
	// results and logs (128 MB), and for records that wait for the database (64 MB).
	Upload, Lists, Unwritten int64
}

// API serves the API and runs what it asks for. It is safe for concurrent use.
type API struct {
	Options
	runtime  uuid.UUID
	feeds    Feeds
	handler  http.Handler
	uploads  *semaphore.Weighted
	lists    *semaphore.Weighted
	exports  *semaphore.Weighted // apart from uploads, which must not wait for a slow reader of a copy
	recorder *recorder
	throttle *throttle
	known    atomic.Bool // this runtime is in the database

	mu      sync.Mutex // orders closing and started
	closing bool
	started sync.WaitGroup
	life    context.Context // of all activations
	end     context.CancelFunc
}

// New returns an API, which needs Run, and UseFeeds for feeds.
func New(o Options) (*API, error) {
	if o.Store == nil || o.Sealer == nil || o.Runner == nil || o.Logger == nil || o.APIHost == "" {
		return nil, errors.New("the functions' API needs a store, a sealer, a runner, a logger and the URL it is reached at")
	}
	o.Running, o.Upload = cmp.Or(o.Running, 1000), cmp.Or(o.Upload, 256<<20)
	o.Lists, o.Unwritten = cmp.Or(o.Lists, 128<<20), cmp.Or(o.Unwritten, 64<<20)
	if o.Observe == nil {
		o.Observe = func(Observation) {}
	}
	a := &API{Options: o, runtime: uuid.New(), uploads: semaphore.NewWeighted(o.Upload), lists: semaphore.NewWeighted(o.Lists), exports: semaphore.NewWeighted(o.Upload)}
	a.recorder = newRecorder(o.Store, o.Logger, o.Unwritten)
	a.throttle = newThrottle(o.Running)
	a.life, a.end = context.WithCancel(context.Background())
	a.handler = a.routes()
	return a, nil
}

// UseFeeds sets the feeds. It is called before the first request.
func (a *API) UseFeeds(f Feeds) { a.feeds = f }

// Handler serves the API below /api/v1.
func (a *API) Handler() http.Handler { return a.handler }

// begin admits an activation; done must be called when it has ended. The error is errEnding.
func (a *API) begin() (done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return nil, errEnding
	}
	a.started.Add(1)
	return a.started.Done, nil
}

// Close waits for activations until ctx ends, then ends them, and writes the remaining records.
func (a *API) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closing = true
	a.mu.Unlock()
	ended := make(chan struct{})
	go func() { a.started.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		a.end()
		<-ended // the sandbox stops a call when its context ends
	}
	a.end()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
	defer cancel()
	if err := a.recorder.flush(late, ""); err != nil {
		return err
	}
	return a.Store.Unseen(late, a.Store.Pool, a.runtime)
}

// lastWrites is how long Close waits for the database.
const lastWrites = 5 * time.Second
