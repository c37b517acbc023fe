package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"time"

	"code.cloudfoundry.org/lager/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// newLogger makes the one logger of the process.
func newLogger(format string, level slog.Level, out io.Writer) (*slog.Logger, error) {
	var handler slog.Handler
	switch options := (&slog.HandlerOptions{Level: level}); format {
	case "json":
		handler = slog.NewJSONHandler(out, options)
	case "text":
		handler = slog.NewTextHandler(out, options)
	case "lager":
		least := lager.INFO
		if level == slog.LevelDebug {
			least = lager.DEBUG
		}
		l := lager.NewLogger("chandler-functions")
		l.RegisterSink(lager.NewPrettySink(out, least))
		handler = lager.NewHandler(l)
	default:
		return nil, usagef("CHANDLER_LOG_FORMAT must be json, text or lager")
	}
	return slog.New(traced{handler}), nil
}

// traced adds a line's trace to it.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(a []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(a)} }
func (t traced) WithGroup(name string) slog.Handler   { return traced{t.Handler.WithGroup(name)} }

// tracingEndpoint is the collector of spans, or empty. The exporter reads the other
// variables of OpenTelemetry by itself.
func (r *reader) tracingEndpoint() string {
	name := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	if r.text(name, "") == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	endpoint := r.text(name, "")
	if endpoint == "" {
		return ""
	}
	// A URL may hold a password, so the fault does not repeat it.
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		r.fault("%s must be http://host:port or https://host:port", name)
	}
	for _, protocol := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := r.text(protocol, "http/protobuf"); p != "http/protobuf" {
			r.fault("%s is %s: spans are sent as http/protobuf, which collectors take on port 4318", protocol, p)
		}
	}
	return endpoint
}

// startTracing sends the process's spans to the endpoint until stop, which sends
// the last ones.
func startTracing(ctx context.Context, endpoint string, log *slog.Logger) (stop func(), err error) {
	if endpoint == "" {
		return func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, usagef("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	version, _ := build()
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "chandler-functions"),
		attribute.String("service.version", version),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithHost(), resource.WithFromEnv()) // the environment wins
	if err != nil {
		return nil, usagef("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	sometimes := &rate.Sometimes{Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		sometimes.Do(func() { log.Warn("spans could not be sent", "error", err.Error()) })
	}))
	return func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := provider.Shutdown(limited); err != nil {
			log.WarnContext(limited, "the last spans could not be sent", "error", err.Error())
		}
	}, nil
}

// serveProfiles serves /debug/pprof/ at listen until ctx ends, if listen is not empty.
func serveProfiles(ctx context.Context, listen string, log *slog.Logger) error {
	if listen == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := newServer(mux, nil, nil, log)
	context.AfterFunc(ctx, func() { _ = server.Close() })
	server.WriteTimeout = 0 // a profile takes as long as its request says
	if err := start(ctx, func(error) {}, server, "CHANDLER_PROFILE_LISTEN", listen); err != nil {
		return err
	}
	log.InfoContext(ctx, "serving profiles", "address", listen)
	return nil
}
