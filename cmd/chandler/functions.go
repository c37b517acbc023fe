package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/server"
)

func newFunctions() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "functions",
		Short: "Run a functions' runtime: OpenWhisk's REST API on the database of the backend function/wasm",
		Long: `Functions serves Apache OpenWhisk's REST API for the namespaces that the broker makes, and
runs their code in worker processes, until SIGTERM; then it lets end what is under way.
Any number of runtimes share one database, beside the broker or away from it.

It prints "ready: URL" when it serves.

` + functionsEnvironment,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readFunctionsSettings(os.LookupEnv)
			if err != nil {
				return err
			}
			log, err := newLogger(s.logFormat, s.logLevel, os.Stderr)
			if err != nil {
				return err
			}
			f, err := openFunctions(cmd.Context(), s, log)
			if err != nil {
				return err
			}
			return errors.Join(f.serve(cmd.Context(), cmd.OutOrStdout()), f.runtime.Close())
		},
	}
	cmd.AddCommand(newFunctionsWorker())
	return cmd
}

// newFunctionsWorker makes the command that a runtime starts for itself.
func newFunctionsWorker() *cobra.Command {
	return &cobra.Command{
		Use: "worker", Short: "Run code for the runtime that started this", Hidden: true,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sandbox.Worker(cmd.Context(), os.Stdin, os.Stdout)
		},
	}
}

// functions is a runtime with its two servers.
type functions struct {
	settings functionsSettings
	log      *slog.Logger
	registry *prometheus.Registry
	runtime  *server.Runtime
	probe    prober
	ending   atomic.Bool
}

// runtimePart is what /readyz calls the runtime.
const runtimePart = "runtime"

// functionsGrace is how long activations under way may go on after SIGTERM. With
// what follows it stays below the 10 s that a supervisor gives.
const functionsGrace = 6 * time.Second

// functionsStart is how long the database may take to start.
const functionsStart = time.Minute

// thisProgram is this program as it was started (proc(5)), whether or not its file
// was replaced by an upgrade since.
const thisProgram = "/proc/self/exe"

func openFunctions(ctx context.Context, s functionsSettings, log *slog.Logger) (*functions, error) {
	f := &functions{settings: s, log: log, registry: prometheus.NewRegistry()}
	f.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		certificateCollector{"chandler_functions_certificate_not_after_seconds", f.certificates})
	ctx, cancel := context.WithTimeout(ctx, functionsStart)
	defer cancel()
	var err error
	f.runtime, err = server.Open(ctx, server.Options{
		DatabaseURL: s.databaseURL, Sealer: s.sealer, APIHost: s.apiHost, CacheDir: s.cache,
		WorkerCommand: []string{thisProgram, "functions", "worker"}, Workers: s.workers, Activations: s.activations,
		Connections:    int32(s.connections), //nolint:gosec // 1000 at most
		MessageServers: s.messageServers, Grace: functionsGrace, Registry: f.registry, Logger: log,
	})
	return f, err
}

// serve serves until ctx ends, and then drains.
func (f *functions) serve(ctx context.Context, out io.Writer) error {
	stopTracing, err := startTracing(ctx, f.settings.tracingEndpoint, "chandler-functions", f.log)
	if err != nil {
		return err
	}
	defer stopTracing()
	if err := serveProfiles(ctx, f.settings.profileListen, f.log); err != nil {
		return err
	}
	listener, admin, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close(); _ = admin.Close() }()
	api, operator := f.server(f.apiRoutes()), f.server(f.adminRoutes())
	if api.TLSConfig, err = f.tlsConfig(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.probe.watch(ctx, []check{{name: runtimePart, ask: f.runtime.Ready}})
	go watchCertificates(ctx, f.certificates, f.log)
	overTLS := f.settings.tlsCert != ""
	go func() { cancel(serveOn(api, listener, overTLS)) }()
	go func() { cancel(serveOn(operator, admin, false)) }()
	f.log.InfoContext(ctx, "serving functions", "address", listener.Addr().String(), "admin_address", admin.Addr().String(), "tls", overTLS)
	fmt.Fprintf(out, "ready: %s\n", f.settings.apiHost)
	context.AfterFunc(ctx, func() { f.ending.Store(true) })
	err = f.runtime.Run(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return errors.Join(err, shutDown(api, operator))
}

func (f *functions) open(ctx context.Context) (listener, admin net.Listener, err error) {
	var lc net.ListenConfig
	if listener, err = lc.Listen(ctx, "tcp", f.settings.listen); err != nil {
		return nil, nil, fmt.Errorf("FUNCTIONS_LISTEN: %w", err)
	}
	if admin, err = lc.Listen(ctx, "tcp", f.settings.adminListen); err != nil {
		_ = listener.Close()
		return nil, nil, fmt.Errorf("FUNCTIONS_ADMIN_LISTEN: %w", err)
	}
	return listener, admin, nil
}

// apiRoutes are the API, and for load balancers whether it answers: no reasons,
// because applications can ask, too.
func (f *functions) apiRoutes() http.Handler {
	api := tracedHandler(f.settings.tracingEndpoint, f.runtime.Handler())
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/readyz" {
			api.ServeHTTP(w, req)
			return
		}
		if !f.ready().Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// adminRoutes are what the operator reads.
func (f *functions) adminRoutes() http.Handler {
	metrics := promhttp.HandlerFor(f.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/metrics":
			metrics.ServeHTTP(w, req)
		case "/readyz":
			writeReady(w, f.ready())
		default:
			http.NotFound(w, req)
		}
	})
}

// errDraining is why a runtime that ends is not ready.
var errDraining = errors.New("it is being stopped")

func (f *functions) ready() readiness {
	if f.ending.Load() {
		return readiness{Parts: []part{{Name: runtimePart, Reason: errDraining.Error()}}}
	}
	return f.probe.readiness()
}

// server makes a server of a handler. Times fit an upload of 48 MB and a blocking
// call of a minute.
func (f *functions) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 5 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
	}
}

// tlsConfig is nil without TLS.
// certificates are those that the runtime shows.
func (f *functions) certificates() []usedCertificates {
	return []usedCertificates{{use: "server", file: f.settings.tlsCert}}
}

func (f *functions) tlsConfig() (*tls.Config, error) {
	if f.settings.tlsCert == "" {
		return nil, nil
	}
	c, err := osb.NewCertificate(f.settings.tlsCert, f.settings.tlsKey, f.log)
	if err != nil {
		return nil, usagef("FUNCTIONS_TLS_CERT, FUNCTIONS_TLS_KEY: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.Get}, nil
}

func serveOn(s *http.Server, l net.Listener, overTLS bool) error {
	if overTLS {
		return s.ServeTLS(l, "", "")
	}
	return s.Serve(l)
}

// shutDown lets answers be written, whose activations have ended.
func shutDown(servers ...*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	}
	return nil
}
