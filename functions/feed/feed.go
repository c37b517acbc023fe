// Package feed fires triggers: by the clock, as OpenWhisk's package alarms does
// (github.com/apache/openwhisk-package-alarms), and for each message of a NATS JetStream
// stream. Feeds are in the state database; any number of runtimes share the work.
//
// An alarm fires at least once for each due time that passes while a runtime runs, and
// once for all that passed while none did. The transaction that takes a due time writes
// the next one, so no two runtimes take the same. A fire is repeated, with the same
// Event.ID, if its runtime ended or lost the database before it recorded the end. A
// message fires its trigger until all actions succeed, or becomes a dead letter after the
// plan's number of attempts; only then is it acknowledged.
package feed

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	// Clock is the clock of alarms; the default is the machine's.
	Clock Clock
	// Servers are the message servers, as host:port, that feeds may connect to, or
	// AnyServer. Without it, anyone who may create a trigger could make this process
	// connect to an address of their choice.
	Servers []string
	// Pace is for tests.
	Pace Pace
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
	pause := p.Retry
	for range min(attempts-1, 30) {
		if pause *= 2; pause >= p.RetryMost {
			return p.RetryMost
		}
	}
	return min(pause, p.RetryMost)
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
	f.alarms = newAlarms(f)
	f.messages = newMessages(f)
	return f, nil
}

// Run fires until ctx ends. It then waits up to Pace.Grace for running fires. It is called
// once.
func (f *Feeds) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){f.alarms.run, f.messages.run, f.removeAll} {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
}

// Notice handles a notification of the state database; it does not block.
func (f *Feeds) Notice(n state.Notice) {
	switch n.Channel {
	case "", state.FeedsChanged, state.NamespaceEnded:
		for _, wake := range []chan struct{}{f.alarms.wake, f.messages.wake, f.removals} {
			signal(wake)
		}
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

// pause is sleep without a wake.
func pause(ctx context.Context, d time.Duration) bool { return sleep[struct{}](ctx, d, nil) }

// graceful returns a context that ends Grace after ctx.
func (f *Feeds) graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(f.Pace.Grace):
			cancel()
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel() }
}

// Event is one reason to fire a trigger.
type Event struct {
	Namespace, Trigger string
	// Payload is a JSON object: the parameters of the trigger's actions.
	Payload json.RawMessage
	// ID is 32 hexadecimal digits, unique to the event and equal when it is fired again. It
	// becomes the ID of the trigger's activation.
	ID string
}

// Fired is the result of an event.
type Fired struct {
	// Activation is the trigger's; empty if no rule was active.
	Activation string
	// Rules is the number of active rules, Failed that of their actions that failed or
	// were not admitted.
	Rules, Failed int
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
