// Package tracing makes spans of what the broker does for one request: the
// request, each turn of its operation on whichever replica, and each call of a
// backend and of the credential store within. Names follow OpenTelemetry's
// conventions where they have one; what is Chandler's own begins with
// "chandler.".
//
// Spans say which of the ways a call can end it took, and never quote an error:
// backends' errors are cleared of secrets only later, for the log, whose lines
// hold the trace's ID.
package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/chandler-broker/chandler/services"
)

// Start begins a span. It costs next to nothing where the process was not told to
// send spans anywhere.
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return otel.Tracer("github.com/chandler-broker/chandler").Start(ctx, name, trace.WithAttributes(attributes...))
}

// traceContext carries spans from replica to replica (W3C Trace Context). There is
// no baggage: who calls must not write into the state.
var traceContext propagation.TraceContext

// Parent is ctx's span as text for Continue; empty if ctx has none.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	traceContext.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// Continue returns a ctx whose spans are children of the one that Parent named.
func Continue(ctx context.Context, parent string) context.Context {
	return traceContext.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
}

// End ends the span of a call that returned err.
func End(span trace.Span, err error) {
	outcome := "succeeded"
	if _, waiting := errors.AsType[*services.NotYetError](err); waiting {
		outcome = "not yet"
	} else if _, rejected := services.IsRejected(err); rejected {
		outcome = "rejected"
	} else if err != nil {
		outcome = "failed"
		span.SetStatus(codes.Error, "failed; the log says why")
	}
	span.SetAttributes(attribute.String("chandler.outcome", outcome))
	span.End()
}
