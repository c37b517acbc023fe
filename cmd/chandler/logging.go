package main

import (
	"context"
	"io"
	"log/slog"

	"code.cloudfoundry.org/lager/v3"
	"go.opentelemetry.io/otel/trace"
)

// newLogger makes the one logger of the process. lager is Cloud Foundry's own
// format, which its log tools read.
func newLogger(format string, level slog.Level, out io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "json":
		return slog.New(traced{slog.NewJSONHandler(out, options)}), nil
	case "text":
		return slog.New(traced{slog.NewTextHandler(out, options)}), nil
	case "lager":
		least := lager.INFO
		if level == slog.LevelDebug {
			least = lager.DEBUG
		}
		l := lager.NewLogger("chandler")
		l.RegisterSink(lager.NewPrettySink(out, least))
		return slog.New(traced{lager.NewHandler(l)}), nil
	}
	return nil, usagef("log format %q: must be json, text or lager", format)
}

// traced adds the trace that a line belongs to.
type traced struct{ slog.Handler }

func (t traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return t.Handler.Handle(ctx, r)
}

func (t traced) WithAttrs(a []slog.Attr) slog.Handler { return traced{t.Handler.WithAttrs(a)} }
func (t traced) WithGroup(name string) slog.Handler   { return traced{t.Handler.WithGroup(name)} }
