package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/auth"
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
			s, fault := environmentSettings()
			if cmd.Flags().Changed("log-format") {
				s.LogFormat = format
			}
			log, err := newLogger(s.LogFormat, s.LogLevel, os.Stderr)
			if fault == nil && err == nil {
				err = awaitCatalog(cmd.Context(), s, log, awaitEvery, func(net.Addr) {})
			}
			if err == nil && cmd.Context().Err() != nil {
				return nil // told to stop while it waited
			}
			if err := errors.Join(fault, err, checkServe(s)); err != nil {
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

// checkServe finds all that is wrong with the environment and the catalog and
// can be told without a server, so that it can be mended in one go.
func checkServe(s settings) error {
	var faults []error
	if c, err := loadCatalog(s); err != nil {
		faults = append(faults, err)
	} else if _, err := newDoors(c, s, slog.New(slog.DiscardHandler), newMetrics()); err != nil {
		faults = append(faults, err)
	} else if _, err := credHub(c); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(append(faults, checkEnvironment(s))...)
}

// checkEnvironment is the part of checkServe that needs no catalog.
func checkEnvironment(s settings) error {
	var faults []error
	if s.DatabaseURL == "" {
		faults = append(faults, errNoDatabase)
	}
	if _, _, err := credentialSettings(s.lookup); err != nil {
		faults = append(faults, err)
	}
	if _, err := certificate(s, slog.New(slog.DiscardHandler)); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// certificate opens the certificate to serve with; nil without TLS.
func certificate(s settings, log *slog.Logger) (*osb.Certificate, error) {
	if s.TLSCert == "" || s.TLSKey == "" { // one alone is a fault of the settings
		return nil, nil
	}
	c, err := osb.NewCertificate(s.TLSCert, s.TLSKey, log)
	if err != nil {
		return nil, usagef("CHANDLER_TLS_CERT, CHANDLER_TLS_KEY: %w", err)
	}
	return c, nil
}

// serve works and answers until ctx ends, and then drains. ready is told the
// address once connections are accepted.
func (a *app) serve(ctx context.Context, ready func(net.Addr)) error {
	stopTracing, err := startTracing(ctx, a.settings.TracingEndpoint, "chandler", a.log)
	if err != nil {
		return err
	}
	defer stopTracing()
	if err := serveProfiles(ctx, a.settings.ProfileListen, a.log); err != nil {
		return err
	}
	doors, err := newDoors(a.catalog, a.settings, a.log, a.metrics)
	if err != nil {
		return err
	}
	server, err := a.server(doors)
	if err != nil {
		return err
	}
	doors.drain = a.placement.SetDrained
	go doors.follow(ctx)
	go watchCertificates(ctx, a.certificates, a.log)
	if a.settings.administrators != nil {
		go a.followAdministrators(ctx, administratorsEvery)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", a.settings.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	a.ready.watch(ctx, a.readyChecks())
	a.placement.Watch(ctx)
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

func (a *app) server(d *doors) (*http.Server, error) {
	api := osb.Handler(osb.Options{
		Broker: a.broker, Catalog: a.catalog, Authenticator: d.platforms, Logger: a.log,
		RequireVersion: !a.settings.AnyVersion, Observe: a.metrics.request,
	})
	pair, err := certificate(a.settings, a.log)
	if err != nil {
		return nil, err
	}
	return osb.Server(a.routes(tracedHandler(a.settings.TracingEndpoint, api), d.operators), pair, a.log), nil
}

// routes adds what the operator reads to the API. Balancers learn whether the
// broker is ready; why it is not, and the metrics, are for operators. No
// http.ServeMux: it would redirect paths that hold an ID such as "..".
func (a *app) routes(api http.Handler, operators *auth.Authenticator) http.Handler {
	metrics := a.metrics.handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte("ok\n"))
		case "/readyz":
			known := r.Header.Get("Authorization") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
			if known {
				_, err := operators.Authenticate(r)
				known = err == nil
			}
			a.serveReady(w, known)
		case "/metrics":
			if _, err := operators.Authenticate(r); err != nil {
				a.refuseOperator(w, err)
				return
			}
			metrics.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// refuseOperator answers who may not read the metrics.
func (a *app) refuseOperator(w http.ResponseWriter, err error) {
	text := err.Error()
	if len(operators(a.catalog, a.settings)) == 0 {
		text = "nobody may read the metrics: set CHANDLER_OPERATOR_USERNAME and CHANDLER_OPERATOR_PASSWORD, or name operators in the catalog"
	}
	http.Error(w, text, osb.RefusalHeader(w.Header(), err))
}
