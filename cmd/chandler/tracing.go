package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// tracingEndpoint is where spans go, as OpenTelemetry's own variables say (OTLP
// Exporter Configuration); empty where nothing is traced. The exporter reads the
// other variables of that page by itself.
func (r *reader) tracingEndpoint() string {
	name := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	endpoint := r.text(name, "")
	if endpoint == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
		endpoint = r.text(name, "")
	}
	if endpoint == "" {
		return ""
	}
	// A URL may hold a password, so the fault does not repeat it.
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		r.fault("%s: must be http://host:port or https://host:port", name)
	}
	for _, protocol := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := r.text(protocol, "http/protobuf"); p != "http/protobuf" {
			r.fault("%s is %s: spans are sent as http/protobuf, which collectors take on port 4318", protocol, p)
		}
	}
	return endpoint
}

// startTracing sends the process's spans to the endpoint until stop, which sends
// what is left for a moment.
func startTracing(ctx context.Context, endpoint, service string, log *slog.Logger) (stop func(), err error) {
	if endpoint == "" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, usagef("send spans to OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", service),
		attribute.String("service.version", readBuild().Version),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithHost(), resource.WithFromEnv()) // the environment wins
	if err != nil {
		return nil, usagef("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	otel.SetErrorHandler(&spanFaults{log: log})
	return func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := provider.Shutdown(limited); err != nil {
			log.WarnContext(limited, "the last spans could not be sent", "error", err.Error())
		}
	}, nil
}

// spanFaults logs that spans cannot be sent, once a minute at most: they are sent
// every few seconds.
type spanFaults struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (f *spanFaults) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) < time.Minute {
		return
	}
	f.last = time.Now()
	f.log.Warn("spans could not be sent", "error", err.Error())
}

// tracedHandler begins a span for each request, which goes on from the client's
// (W3C Trace Context). Who serves it gives it its name.
func tracedHandler(endpoint string, next http.Handler) http.Handler {
	if endpoint == "" {
		return next
	}
	return otelhttp.NewHandler(next, "request", otelhttp.WithPropagators(propagation.TraceContext{}))
}
