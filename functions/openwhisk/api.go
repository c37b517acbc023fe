// Package openwhisk serves Apache OpenWhisk's REST API, version 1, from the state
// database: actions, packages, triggers, rules, sequences, web actions,
// activations. What a client of OpenWhisk sends and gets is as OpenWhisk has it;
// where its documentation and its controller differ, as its controller does.
//
// Nothing of a namespace is in memory while nothing of it runs. Any number of
// runtimes serve one database.
package openwhisk

import (
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

// Runner runs actions; *sandbox.Pool is the one there is.
type Runner interface {
	// Run runs one activation to its end, or its time limit.
	Run(ctx context.Context, call sandbox.Call) (sandbox.Outcome, error)
	// Prepare checks code and compiles it. Errors are the user's to mend.
	Prepare(ctx context.Context, code sandbox.Code) error
	// Forget deletes what was compiled from the code of that hash.
	Forget(hash string) error
}

// Feeds are the actions of namespace whisk.system: they change what fires
// triggers.
type Feeds interface {
	// Invoke runs one of the actions "alarms/alarm", "alarms/interval",
	// "alarms/once" and "messaging/nats" for a namespace, with parameters as
	// OpenWhisk's feed actions take them, and returns its result, a JSON object.
	// An error with a method Result() json.RawMessage is the caller's to mend.
	Invoke(ctx context.Context, namespace, action string, params json.RawMessage) (json.RawMessage, error)
}

// Observation is what metrics are made of: an activation that ended.
type Observation struct {
	Namespace, Plan string
	// Kind is the action's, such as "nodejs:default", "sequence" or "trigger".
	Kind string
	// Status is OpenWhisk's: "success", "application error", "action developer
	// error", "whisk internal error".
	Status string
	// Ran says that the sandbox was asked, and Cold that it had to load the code
	// first, which took Init.
	Ran, Cold            bool
	Wait, Init, Duration time.Duration
}

// Options is what the API needs. Observe and the numbers may be left out.
type Options struct {
	Store  *state.Store
	Sealer *state.Sealer
	Runner Runner
	Logger *slog.Logger
	// APIHost is what actions are told to call: a URL without a path.
	APIHost string
	// Observe is called at the end of every activation; it must not block.
	Observe func(Observation)
	// Running is how many activations there may be at a time in this runtime, of
	// all namespaces together (1000).
	Running int64
	// Upload is how many bytes of requests that carry code are held at a time
	// (256 MB).
	Upload int64
	// Lists is how many bytes of results and logs are held at a time for lists that
	// have them (128 MB).
	Lists int64
	// Unwritten is how many bytes of records wait for the database at a time
	// (64 MB).
	Unwritten int64
}

// API serves the API and runs what it asks for. It is safe for concurrent use.
type API struct {
	Options
	runtime  uuid.UUID
	feeds    Feeds
	handler  http.Handler
	uploads  *semaphore.Weighted
	lists    *semaphore.Weighted
	recorder *recorder
	throttle *throttle
	known    atomic.Bool // the database knows this runtime

	mu      sync.Mutex // guards closing against started
	closing bool
	started sync.WaitGroup
	life    context.Context // of all activations
	end     context.CancelFunc
}

// New makes an API, which serves nothing of feeds until UseFeeds, and needs Run.
func New(o Options) (*API, error) {
	if o.Store == nil || o.Sealer == nil || o.Runner == nil || o.Logger == nil || o.APIHost == "" {
		return nil, errors.New("the functions' API needs a store, a sealer, a runner, a logger and the URL it is reached at")
	}
	for _, field := range []struct {
		value   *int64
		initial int64
	}{{&o.Running, 1000}, {&o.Upload, 256 << 20}, {&o.Lists, 128 << 20}, {&o.Unwritten, 64 << 20}} {
		if *field.value <= 0 {
			*field.value = field.initial
		}
	}
	if o.Observe == nil {
		o.Observe = func(Observation) {}
	}
	a := &API{Options: o, runtime: uuid.New(), uploads: semaphore.NewWeighted(o.Upload), lists: semaphore.NewWeighted(o.Lists)}
	a.recorder = newRecorder(o.Store, o.Logger, o.Unwritten)
	a.throttle = newThrottle(o.Running)
	a.life, a.end = context.WithCancel(context.Background())
	a.handler = a.routes()
	return a, nil
}

// UseFeeds tells the API whom to ask for the actions of whisk.system. It is called
// before the first request.
func (a *API) UseFeeds(f Feeds) { a.feeds = f }

// Handler serves the API below /api/v1.
func (a *API) Handler() http.Handler { return a.handler }

// begin admits one more activation; done must be called when it has ended. The
// error is errEnding.
func (a *API) begin() (done func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return nil, errEnding
	}
	a.started.Add(1)
	return a.started.Done, nil
}

// Close lets activations end until ctx does, ends the others as internal errors,
// and writes all records that are still to be written. Run goes on until then.
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
		<-ended // the sandbox lets go of a call whose context ended
	}
	a.end()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
	defer cancel()
	if err := a.recorder.settle(late, ""); err != nil {
		return err
	}
	return a.Store.Unseen(late, a.Store.Pool, a.runtime)
}

// lastWrites is how long Close gives the database.
const lastWrites = 5 * time.Second
