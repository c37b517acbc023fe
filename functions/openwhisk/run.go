package openwhisk

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	shareEvery = time.Second     // runtimes exchange what they admitted
	beatEvery  = 3 * time.Second // a runtime reports that it is alive
	deadAfter  = 20.0            // seconds without a report; other runtimes then end its activations
)

// Run works for all activations until ctx ends, which must be after Close. It is called once.
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
	if n > 0 {
		a.Logger.WarnContext(ctx, "activations of a dead runtime ended", "activations", n)
	}
	if err == nil {
		err = a.Store.ForgetRuntimes(ctx, a.Store.Pool, 2*deadAfter)
	}
	if err == nil {
		err = a.Store.ForgetUsage(ctx, a.Store.Pool)
	}
	return err
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

// withRouteName names the request's span, if it has one, after its route.
func withRouteName(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
			if route, err := mux.CurrentRoute(r).GetPathTemplate(); err == nil {
				span.SetName(r.Method + " " + route)
				span.SetAttributes(attribute.String("http.route", route))
			}
		}
		next(w, r)
	}
}

// detach returns the runtime's own context with ctx's span, for work that outlives a request.
func (a *API) detach(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(a.life, trace.SpanContextFromContext(ctx))
}

// startSpan starts an activation's span (OpenTelemetry, "FaaS Spans"), without its data.
func startSpan(ctx context.Context, inv invocation) (context.Context, trace.Span) {
	return otel.Tracer("github.com/chandler-broker/chandler").Start(ctx, "activation "+inv.kind, trace.WithAttributes(
		attribute.String("faas.invocation_id", idText(inv.id)),
		attribute.String("faas.name", inv.qualified.String()),
		attribute.String("chandler.namespace", inv.who.namespace),
		attribute.String("chandler.request.id", inv.request),
	))
}

func endSpan(span trace.Span, p performed, o Observation) {
	span.SetAttributes(attribute.String("chandler.outcome", p.status.String()), attribute.Bool("faas.coldstart", o.Cold))
	if p.status != succeeded {
		span.SetStatus(codes.Error, "the activation's record contains the reason")
	}
	span.End()
}
