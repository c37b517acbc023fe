package openwhisk

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// traced names the request's span, if it has one, after its route.
func traced(next http.HandlerFunc) http.HandlerFunc {
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

// detached is the runtime's own context with ctx's span, for what continues after the
// request and belongs to its trace.
func (a *API) detached(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(a.life, trace.SpanContextFromContext(ctx))
}

// startSpan starts an activation's span (OpenTelemetry, "Semantic Conventions for FaaS
// Spans"). It contains neither parameters nor results.
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
