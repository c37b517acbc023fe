// Package tracing makes the spans of a request: the request itself, each attempt of its
// operation on any replica, and each call of a backend or the credential store. Names
// follow OpenTelemetry's conventions; Chandler's own begin with "chandler.".
//
// Spans have outcomes and never quote an error: secrets are removed from backends' errors
// only later, for the log, whose lines have the trace's ID.
package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Start begins a span. It costs next to nothing if the process sends spans nowhere.
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return otel.Tracer("github.com/chandler-broker/chandler").Start(ctx, name, trace.WithAttributes(attributes...))
}

// traceContext carries spans from replica to replica (W3C Trace Context). It omits baggage:
// clients must not write into the state.
var traceContext propagation.TraceContext

// Parent returns ctx's span as text for Continue; empty if ctx has none.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	traceContext.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// Continue returns a context whose spans are children of the one from Parent.
func Continue(ctx context.Context, parent string) context.Context {
	return traceContext.Extract(ctx, propagation.MapCarrier{"traceparent": parent})
}

// Run runs a call in a span.
func Run(ctx context.Context, name string, call func(context.Context) error, attributes ...attribute.KeyValue) error {
	ctx, span := Start(ctx, name, attributes...)
	err := call(ctx)
	End(span, err)
	return err
}

// End ends the span of a call that returned err.
func End(span trace.Span, err error) {
	outcome := "succeeded"
	if errors.Is(err, credhub.ErrNotFound) {
		outcome = "absent"
	} else if _, waiting := errors.AsType[*services.NotYetError](err); waiting {
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
