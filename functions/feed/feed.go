// Package feed fires triggers by the clock, as github.com/apache/openwhisk-package-alarms
// does, and for each message of a NATS JetStream stream. Runtimes share the work.
//
// An alarm fires at least once for each due time that passes while a runtime runs, and
// once for all that passed while none did. Due times are taken in transactions, so no two
// runtimes take the same. A fire is repeated, with the same Event.ID, if its end was not
// recorded. A message fires its trigger until all actions succeed, or becomes a dead
// letter after the plan's number of attempts; only then is it acknowledged.
package feed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// Options configures feeds. Clock, Servers and Pace are optional.
type Options struct {
	Store  *state.Store
	Sealer *state.Sealer
	Firer  Firer
	Logger *slog.Logger
	Clock  Clock // of alarms; the machine's by default
	// Servers are the message servers, as host:port, that feeds may connect to, or
	// AnyServer. Without it, anyone who may create a trigger could make this process
	// connect to an address of their choice.
	Servers []string
	Pace    Pace // for tests
}

// Clock tells the time.
type Clock struct {
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Pace are durations. Zero fields have defaults.
type Pace struct {
	Lease   time.Duration // a runtime that stopped keeps an alarm (30 s)
	AckWait time.Duration // a runtime that stopped keeps a message (30 s)
	// Retry is the first pause before a retry (1 s); pauses double up to RetryMost (5 min).
	Retry, RetryMost time.Duration
	Look             time.Duration // between looks for changes without a notification (30 s)
	Grace            time.Duration // for fires to end after Run's context has ended (10 s)
}

func (p Pace) withDefaults() Pace {
	return Pace{
		Lease: cmp.Or(p.Lease, 30*time.Second), AckWait: cmp.Or(p.AckWait, 30*time.Second),
		Retry: cmp.Or(p.Retry, time.Second), RetryMost: cmp.Or(p.RetryMost, 5*time.Minute),
		Look: cmp.Or(p.Look, 30*time.Second), Grace: cmp.Or(p.Grace, 10*time.Second),
	}
}

// pause is the pause after an attempt, counted from 1.
func (p Pace) pause(attempts int) time.Duration {
	pause := min(p.Retry, p.RetryMost)
	for range min(attempts-1, 30) {
		pause = min(2*pause, p.RetryMost)
	}
	return pause
}

// attempts yields 1, 2, … with growing pauses of at most most, until ctx ends.
func (p Pace) attempts(ctx context.Context, most time.Duration) iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := 1; yield(n) && pause(ctx, min(p.pause(n), most)); n++ {
		}
	}
}

// Feeds is this runtime's part of all feeds. It is safe for concurrent use.
type Feeds struct {
	Options
	runtime  uuid.UUID
	alarms   *alarms
	messages *messages
	removals chan struct{} // signals that there may be feeds to remove
}

// Open returns Feeds, which fire nothing until Run.
func Open(o Options) (*Feeds, error) {
	if o.Store == nil || o.Sealer == nil || o.Firer == nil || o.Logger == nil {
		return nil, errors.New("feeds need a store, a sealer, a firer and a logger")
	}
	if o.Clock.Now == nil || o.Clock.After == nil {
		o.Clock = Clock{Now: time.Now, After: time.After}
	}
	o.Pace = o.Pace.withDefaults()
	f := &Feeds{Options: o, runtime: uuid.New(), removals: make(chan struct{}, 1)}
	f.alarms = &alarms{Feeds: f, wake: make(chan struct{}, 1), fires: map[fireKey]bool{}, counts: map[string]int{}}
	f.messages = &messages{
		Feeds: f, wake: make(chan struct{}, 1), starts: make(chan struct{}, startsAtOnce),
		links: &links{servers: f.Servers, open: map[string]*link{}}, budget: &budget{left: messagesAtOnce},
	}
	return f, nil
}

// Run fires until ctx ends, and then waits for running fires. It is called once.
func (f *Feeds) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){f.alarms.run, f.messages.run, f.removeAll} {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
}

// Notice handles a notification of the state database; it does not block.
func (f *Feeds) Notice(state.Notice) {
	for _, wake := range []chan struct{}{f.alarms.wake, f.messages.wake, f.removals} {
		signal(wake)
	}
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default: // a signal is pending
	}
}

// sleep waits for d, for wake or for the end of ctx. It says whether ctx continues.
func sleep[T any](ctx context.Context, d time.Duration, wake <-chan T) bool {
	select {
	case <-time.After(d):
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func pause(ctx context.Context, d time.Duration) bool { return sleep[struct{}](ctx, d, nil) }

// graceful returns a context that ends Grace after ctx.
func (f *Feeds) graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(f.Pace.Grace, cancel) })
	return late, func() { stop(); cancel() }
}

// Event is one reason to fire a trigger.
type Event struct {
	Namespace, Trigger string
	Payload            json.RawMessage // a JSON object: the parameters of the trigger's actions
	// ID is 32 hexadecimal digits, unique to the event and equal when it is fired again. It
	// becomes the ID of the trigger's activation.
	ID string
}

// Fired is the result of an event.
type Fired struct {
	Activation string // the trigger's; empty if no rule was active
	Rules      int    // active ones
	Failed     int    // of their actions, including those that were not admitted
	// Results are the results of the successful actions, each a JSON object or array, in
	// the order of the rules.
	Results []json.RawMessage
}

// Firer fires triggers.
type Firer interface {
	// Fire fires the trigger and returns when the actions of all its active rules have
	// ended; a failed action is no error. Errors wrap ErrNoTrigger, ErrTooLarge or
	// ErrThrottled; other errors are caused by the runtime.
	Fire(ctx context.Context, e Event) (Fired, error)
}

// Reasons why a trigger was not fired.
var (
	ErrNoTrigger = errors.New("the trigger does not exist")
	ErrTooLarge  = errors.New("the payload is larger than the plan allows")
	ErrThrottled = errors.New("the namespace has reached a limit of its plan")
)
