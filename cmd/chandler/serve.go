package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"code.cloudfoundry.org/lager/v3"
	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/trace"

	"github.com/chandler-broker/chandler/broker/server"
)

func newServe() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the broker in production: environment and catalog.yml",
		Long:  "Serve brings the state database to this version, and serves the Open Service Broker API until SIGTERM.\n\n" + environment,
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, fault := environmentSettings()
			if cmd.Flags().Changed("log-format") {
				s.LogFormat = format
			}
			log, err := newLogger(s.LogFormat, s.LogLevel, os.Stderr)
			if fault == nil && err == nil {
				err = server.Await(cmd.Context(), s.Settings, log)
			}
			if err == nil && cmd.Context().Err() != nil {
				return nil // stopped while it waited
			}
			if err := errors.Join(fault, err, server.Check(s.Settings)); err != nil {
				return err
			}
			b, err := server.Open(cmd.Context(), s.Settings, log, server.Needs{Migrate: true, Credentials: true})
			if err != nil {
				return err
			}
			defer b.Close()
			return b.Serve(cmd.Context(), func(net.Addr) {})
		},
	}
	cmd.Flags().StringVar(&format, "log-format", "json", "json, text or lager; overrides CHANDLER_LOG_FORMAT")
	return cmd
}

func newMigrate() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the state database to this version, and end",
		Long: `Migrate does what serve does first: it brings the state database to this version.
It needs nothing but the database, may run beside brokers of this version and the one
before, and may be repeated. Run it as a task before an upgrade, so that a migration that
fails is known before a replica is replaced.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, fault := environmentSettings()
			log, err := newLogger(s.LogFormat, s.LogLevel, os.Stderr)
			if err := errors.Join(fault, err); err != nil {
				return err
			}
			if err := server.Migrate(cmd.Context(), s.Settings, log); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the state database is at this version")
			return nil
		},
	}
}

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
