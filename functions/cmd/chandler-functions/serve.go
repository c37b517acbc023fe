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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"

	"github.com/chandler-broker/chandler/functions/admin"
	"github.com/chandler-broker/chandler/functions/server"
	"github.com/chandler-broker/chandler/functions/state"
)

// program is a runtime with its two servers.
type program struct {
	settings
	log           *slog.Logger
	registry      *prometheus.Registry
	store         *state.Store
	runtime       *server.Runtime
	api, operator *certificate
	health        health
}

const (
	// grace is how long activations in progress may continue after SIGTERM: less than
	// the 10 s of supervisors.
	grace = 6 * time.Second
	// startTime is how long the database may take to start.
	startTime = time.Minute
	// thisProgram is this program, even if an upgrade has replaced its file (proc(5)).
	thisProgram = "/proc/self/exe"
)

func open(ctx context.Context, s settings, log *slog.Logger) (_ *program, err error) {
	p := &program{settings: s, log: log, registry: prometheus.NewRegistry()}
	expiry := newExpiry()
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), expiry)
	if p.api, err = newCertificate("server", s.tls, log, expiry); err != nil {
		return nil, usagef("FUNCTIONS_TLS_CERT, FUNCTIONS_TLS_KEY: %w", err)
	}
	if p.operator, err = newCertificate("administration", s.adminTLS, log, expiry); err != nil {
		return nil, usagef("FUNCTIONS_ADMIN_TLS_CERT, FUNCTIONS_ADMIN_TLS_KEY: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if p.store, err = state.Open(ctx, s.databaseURL, int32(s.connections)); err != nil { //nolint:gosec // 1000 at most
		return nil, usagef("FUNCTIONS_DATABASE_URL: %w", err)
	}
	p.runtime, err = server.Open(ctx, server.Options{
		Store: p.store, Sealer: s.sealer, APIHost: s.apiHost, CacheDir: s.cache,
		WorkerCommand: []string{thisProgram, workerCommand}, Workers: s.workers, Activations: s.activations,
		MessageServers: s.messageServers, Grace: grace, Registry: p.registry, Logger: log,
	})
	if err != nil {
		p.store.Close()
		return nil, err
	}
	return p, nil
}

func (p *program) close() error {
	defer p.store.Close()
	return p.runtime.Close()
}

// serve serves until ctx ends, and then drains.
func (p *program) serve(ctx context.Context, out io.Writer) error {
	stopTracing, err := startTracing(ctx, p.tracingEndpoint, p.log)
	if err != nil {
		return err
	}
	defer stopTracing()
	if err := serveProfiles(ctx, p.profileListen, p.log); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.health.watch(ctx, p.runtime.Ready)
	go p.api.watch(ctx)
	go p.operator.watch(ctx)
	api, operator := newServer(p.apiRoutes(), p.api, nil, p.log), newServer(p.operatorRoutes(), p.operator, p.administrators, p.log)
	if err := start(ctx, cancel, api, "FUNCTIONS_LISTEN", p.listen); err != nil {
		return err
	}
	defer func() { _ = api.Close() }()
	if err := start(ctx, cancel, operator, "FUNCTIONS_ADMIN_LISTEN", p.adminListen); err != nil {
		return err
	}
	p.log.InfoContext(ctx, "serving functions", "address", p.listen, "admin_address", p.adminListen,
		"tls", p.api != nil, "administration", p.administrators != nil)
	fmt.Fprintf(out, "ready: %s\n", p.apiHost)
	err = p.runtime.Run(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	shutDown(api, operator)
	return err
}

// apiRoutes are the API, and /readyz for load balancers: without reasons, because
// applications can read it, too.
func (p *program) apiRoutes() http.Handler {
	api := p.runtime.Handler()
	if p.tracingEndpoint != "" { // spans continue the client's trace; the handler names them
		api = otelhttp.NewHandler(api, "request", otelhttp.WithPropagators(propagation.TraceContext{}))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/readyz" {
			api.ServeHTTP(w, req)
			return
		}
		if !p.health.ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// operatorRoutes are for the operator: the administration API, metrics and readiness.
func (p *program) operatorRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", p.health.serve)
	if p.administrators != nil {
		mux.Handle(admin.Prefix, admin.New(admin.Options{Store: p.store, Authenticator: p.administrators, Logger: p.log, Contents: p.runtime.Contents()}))
	}
	return mux
}

// newServer makes a server of a handler. The timeouts allow an upload of 48 MB and a
// blocking call of a minute.
func newServer(h http.Handler, c *certificate, clients *admin.Authenticator, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 5 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if c != nil {
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
		clients.RequestCertificates(s.TLSConfig)
	}
	return s
}

// start listens and serves; ended gets the error with which the server ends.
func start(ctx context.Context, ended func(error), s *http.Server, variable, address string) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	go func() {
		if s.TLSConfig != nil {
			ended(s.ServeTLS(listener, "", ""))
			return
		}
		ended(s.Serve(listener))
	}()
	return nil
}

// shutDown waits for the answers of activations that have ended.
func shutDown(servers ...*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	}
}
