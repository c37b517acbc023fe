package openwhisk

import (
	"context"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	shareEvery = time.Second     // runtimes exchange what they admitted
	beatEvery  = 3 * time.Second // a runtime reports that it is alive
	deadAfter  = 20.0            // seconds without a report; other runtimes then end its activations
)

// Run writes records, exchanges usage with the other runtimes, and ends the activations of
// dead ones, until ctx ends. It is called once, and ends after Close.
func (a *API) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { a.recorder.run(ctx) })
	wg.Go(func() { a.every(ctx, shareEvery, a.share) })
	wg.Go(func() { a.every(ctx, beatEvery, a.beat) })
	wg.Wait()
}

// every calls f at once and then periodically, and logs its errors.
func (a *API) every(ctx context.Context, pause time.Duration, f func(context.Context) error) {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			a.Logger.WarnContext(ctx, "functions runtime cannot report to the others", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// seen reports to the database that this runtime is alive.
func (a *API) seen(ctx context.Context) error {
	if err := a.Store.Seen(ctx, a.Store.Pool, a.runtime); err != nil {
		return err
	}
	a.known.Store(true)
	return nil
}

func (a *API) beat(ctx context.Context) error {
	if err := a.seen(ctx); err != nil {
		return err
	}
	n, err := a.Store.EndAbandoned(ctx, a.Store.Pool, state.EndAbandonedParams{Result: abandoned, Seconds: deadAfter})
	if err != nil {
		return err
	}
	if n > 0 {
		a.Logger.WarnContext(ctx, "activations of a dead runtime ended", "activations", n)
	}
	if err := a.Store.ForgetRuntimes(ctx, a.Store.Pool, 2*deadAfter); err != nil {
		return err
	}
	return a.Store.ForgetUsage(ctx, a.Store.Pool)
}

// abandoned is the result of an activation whose runtime died.
var abandoned = []byte(`{"error":"The runtime that ran the action ended unexpectedly."}`)

// share reports to the other runtimes what this one admitted, and learns what they did.
func (a *API) share(ctx context.Context) error {
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
