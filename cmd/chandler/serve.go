package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/osb"
)

// drainTime is how long requests and turns under way may go on after SIGTERM.
const drainTime = 4 * time.Second

func newServe() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the broker in production: environment and catalog.yml",
		Long:  "Serve brings the state database to this version, and serves the Open Service Broker API until SIGTERM.\n\n" + environment,
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := environmentSettings()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("log-format") {
				s.LogFormat = format
			}
			log, err := newLogger(s.LogFormat, s.LogLevel, os.Stderr)
			if err != nil {
				return err
			}
			a, err := open(cmd.Context(), s, log, openOptions{migrate: true, credentials: true})
			if err != nil {
				return err
			}
			defer a.close()
			return a.serve(cmd.Context(), func(net.Addr) {})
		},
	}
	cmd.Flags().StringVar(&format, "log-format", "json", "json, text or lager; overrides CHANDLER_LOG_FORMAT")
	return cmd
}

// serve works and answers until ctx ends, and then drains. ready is told the
// address once connections are accepted.
func (a *app) serve(ctx context.Context, ready func(net.Addr)) error {
	server, err := a.server()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", a.settings.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := a.engine.Start(ctx); err != nil {
		_ = listener.Close()
		return err
	}
	failed := make(chan error, 1)
	tls := server.TLSConfig != nil // read before the server starts: it sets one of its own for HTTP/2
	go func() {
		if tls {
			failed <- server.ServeTLS(listener, "", "")
			return
		}
		failed <- server.Serve(listener)
	}()
	a.log.InfoContext(ctx, "serving", "address", listener.Addr().String(), "tls", tls)
	ready(listener.Addr())
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	return errors.Join(err, a.drain(server))
}

// drain answers who can poll with 202, lets the others' requests and the turns
// under way end for a while, and leaves the rest to the next start.
func (a *app) drain(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	a.log.InfoContext(ctx, "draining")
	a.broker.Drain()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
	if err := a.engine.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop the job queue: %w", err)
	}
	a.log.InfoContext(context.WithoutCancel(ctx), "stopped")
	return nil
}

func (a *app) server() (*http.Server, error) {
	platforms, err := a.platforms()
	if err != nil {
		return nil, err
	}
	api := osb.Handler(osb.Options{
		Broker: a.broker, Catalog: a.catalog, Platforms: platforms, Logger: a.log,
		RequireVersion: !a.settings.AnyVersion, Observe: a.metrics.request,
	})
	var certificate *osb.Certificate
	if a.settings.TLSCert != "" {
		if certificate, err = osb.NewCertificate(a.settings.TLSCert, a.settings.TLSKey, a.log); err != nil {
			return nil, usageError{err}
		}
	}
	return osb.Server(a.routes(api), certificate, a.log), nil
}

// routes adds what the operator reads to the API. No http.ServeMux: it would
// redirect paths that hold an ID such as "..".
func (a *app) routes(api http.Handler) http.Handler {
	metrics := a.metrics.handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte("ok\n"))
		case "/readyz":
			a.serveReady(w, r)
		case "/metrics":
			metrics.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}
