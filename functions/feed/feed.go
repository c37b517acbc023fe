// Package feed fires triggers: by the clock, as OpenWhisk's package alarms does
// (github.com/apache/openwhisk-package-alarms), and for each message of a NATS
// JetStream stream. What there is to fire is in the state database; any number of
// runtimes share the work.
//
// What is promised. An alarm fires at least once for each due time that passes
// while a runtime is there, and once for all that passed while none was. Which
// runtime fires is settled by the row of the feed, and the next due time is
// written in the transaction that takes the last, so two runtimes never take the
// same. A fire is repeated, with the same Event.ID, where the runtime that took it
// ended, or lost the database, before it could note that the trigger had been
// fired. A message fires its trigger until all actions succeeded, or is a dead
// letter after so many attempts as the plan has; it is acknowledged after that and
// not before.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// Options is what feeds need. All but Clock and Servers is required.
type Options struct {
	Store  *state.Store
	Sealer *state.Sealer
	Firer  Firer
	Logger *slog.Logger
	// Clock is what alarms go by; the zero one is the machine's.
	Clock Clock
	// Servers are the message servers, as host:port, that feeds may connect to;
	// AnyServer: any; none: feeds of messages are refused. Whoever may make a
	// trigger would have this process connect to an address of his choice.
	Servers []string
	// Pace is for tests; the zero one is what is documented.
	Pace Pace
}

// Clock tells the time.
type Clock struct {
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Pace is how long feeds wait for what. Zero fields have defaults.
type Pace struct {
	// Lease is for how long a runtime that is not heard of keeps an alarm that
	// it took (30 s).
	Lease time.Duration
	// AckWait is for how long it keeps a message (30 s).
	AckWait time.Duration
	// Retry is the first pause before something is tried again (1 s); pauses
	// double up to RetryMost (5 min).
	Retry, RetryMost time.Duration
	// Look is how often a runtime looks for what it was not told of (30 s).
	Look time.Duration
	// Grace is how long fires may take to end after Run was told to (10 s).
	Grace time.Duration
}

func (p Pace) withDefaults() Pace {
	for _, field := range []struct {
		value   *time.Duration
		initial time.Duration
	}{
		{&p.Lease, 30 * time.Second}, {&p.AckWait, 30 * time.Second},
		{&p.Retry, time.Second}, {&p.RetryMost, 5 * time.Minute},
		{&p.Look, 30 * time.Second}, {&p.Grace, 10 * time.Second},
	} {
		if *field.value <= 0 {
			*field.value = field.initial
		}
	}
	return p
}

// pause is how long to wait after so many attempts, from 1.
func (p Pace) pause(attempts int) time.Duration {
	pause := p.Retry
	for range min(attempts-1, 30) {
		if pause *= 2; pause >= p.RetryMost {
			return p.RetryMost
		}
	}
	return min(pause, p.RetryMost)
}

// Feeds is this runtime's part in all feeds. It is safe for concurrent use.
type Feeds struct {
	Options
	runtime  uuid.UUID
	alarms   *alarms
	messages *messages
	removals chan struct{} // has an element when there may be something to remove
}

// Open makes Feeds, which do nothing by themselves until Run.
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

// Run fires until ctx ends, and returns when what was under way has ended, which
// it gives Pace.Grace for. It is called once.
func (f *Feeds) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){f.alarms.run, f.messages.run, f.removeAll} {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
}

// Notice takes a notification of the state database; it does not block.
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
	default: // it will look anyway
	}
}

// graceful is a context that ends Grace after ctx does.
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
