package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
)

// startTracing sends the process's spans to the endpoint until stop, which gives the last
// ones a moment. The exporter reads OpenTelemetry's variables itself.
func startTracing(ctx context.Context, s Settings, log *slog.Logger) (stop func(), err error) {
	if s.TracingEndpoint == "" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, configErrorf("send spans to OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "chandler"),
		attribute.String("service.version", s.Version),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithHost(), resource.WithFromEnv()) // the environment takes precedence
	if err != nil {
		return nil, configErrorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	otel.SetErrorHandler(spanErrors(log))
	return func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := provider.Shutdown(limited); err != nil {
			log.WarnContext(limited, "the last spans could not be sent", "error", err.Error())
		}
	}, nil
}

// spanErrors logs at most once a minute that spans cannot be sent.
func spanErrors(log *slog.Logger) otel.ErrorHandlerFunc {
	sometimes := rate.Sometimes{Interval: time.Minute}
	return func(err error) {
		sometimes.Do(func() { log.Warn("spans could not be sent", "error", err.Error()) })
	}
}

// tracedHandler begins a span for each request, as a child of the client's (W3C Trace
// Context). The handler names it.
func tracedHandler(endpoint string, next http.Handler) http.Handler {
	if endpoint == "" {
		return next
	}
	return otelhttp.NewHandler(next, "request", otelhttp.WithPropagators(propagation.TraceContext{}))
}

// serveProfiles serves /debug/pprof/, which 'go tool pprof' reads, until ctx ends.
func serveProfiles(ctx context.Context, listen string, log *slog.Logger) error {
	if listen == "" {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("CHANDLER_PROFILE_LISTEN: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	log.InfoContext(ctx, "serving profiles", "address", listener.Addr().String())
	return nil
}
