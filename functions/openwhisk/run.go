package openwhisk

import (
	"context"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	// sharing is how often runtimes tell each other what they admitted.
	sharing = time.Second
	// beat is how often a runtime says that it lives, and dead after how many
	// seconds of silence it does not: what it ran is ended by the others.
	beat = 3 * time.Second
	dead = 20.0
)

// Run writes records, shares limits with the other runtimes, and ends what dead
// runtimes left, until ctx ends. It is called once, and ends after Close.
func (a *API) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { a.recorder.run(ctx) })
	wg.Go(func() { every(ctx, sharing, a.share) })
	wg.Go(func() { every(ctx, beat, a.beat) })
	wg.Wait()
}

// every calls f at once and then again and again.
func every(ctx context.Context, pause time.Duration, f func(context.Context)) {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// seen tells the database of this runtime.
func (a *API) seen(ctx context.Context) error {
	if err := a.Store.Seen(ctx, a.Store.Pool, a.runtime); err != nil {
		return err
	}
	a.known.Store(true)
	return nil
}

func (a *API) beat(ctx context.Context) {
	if err := a.beatOnce(ctx); err != nil && ctx.Err() == nil {
		a.Logger.WarnContext(ctx, "functions runtime cannot say that it lives", "error", err)
	}
}

func (a *API) beatOnce(ctx context.Context) error {
	if err := a.seen(ctx); err != nil {
		return err
	}
	n, err := a.Store.EndAbandoned(ctx, a.Store.Pool, state.EndAbandonedParams{Result: abandoned, Seconds: dead})
	if err != nil {
		return err
	}
	if n > 0 {
		a.Logger.WarnContext(ctx, "activations of a dead runtime ended", "activations", n)
	}
	if err := a.Store.ForgetRuntimes(ctx, a.Store.Pool, 2*dead); err != nil {
		return err
	}
	return a.Store.ForgetUsage(ctx, a.Store.Pool)
}

// abandoned is the result of an activation whose runtime died.
var abandoned = []byte(`{"error":"The runtime that ran the action ended unexpectedly."}`)

// share tells the other runtimes what this one admitted, and learns what they did.
func (a *API) share(ctx context.Context) {
	if err := a.shareOnce(ctx); err != nil && ctx.Err() == nil {
		a.Logger.WarnContext(ctx, "functions runtime cannot share its limits", "error", err)
	}
}

func (a *API) shareOnce(ctx context.Context) error {
	report := a.throttle.report(time.Now())
	if len(report.Namespaces) == 0 {
		return nil
	}
	report.Runtime = a.runtime
	if err := a.Store.ShareUsage(ctx, a.Store.Pool, report); err != nil {
		return err
	}
	others, err := a.Store.OthersUsage(ctx, a.Store.Pool, state.OthersUsageParams{Minute: report.Minute, Namespaces: report.Namespaces, Runtime: a.runtime})
	if err != nil {
		return err
	}
	a.throttle.learn(report.Minute, report.Namespaces, others)
	return nil
}
