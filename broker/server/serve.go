package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/osb"
)

// drainTime is how long requests and attempts under way may continue after ctx ends.
const drainTime = 4 * time.Second

// Check finds all faults of the environment and the catalog that can be found without a
// server, so that they are reported together.
func Check(s Settings) error {
	faults := []error{checkEnvironment(s)}
	if c, err := LoadCatalog(s); err != nil {
		faults = append(faults, err)
	} else if _, err := newClients(c, s, slog.New(slog.DiscardHandler), newMetrics()); err != nil {
		faults = append(faults, err)
	} else if _, err := s.Deliveries(c, nil); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// checkEnvironment is the part of Check that needs no catalog.
func checkEnvironment(s Settings) error {
	var faults []error
	if s.DatabaseURL == "" {
		faults = append(faults, errNoDatabase())
	}
	_, err := s.CredentialStore(s.Lookup)
	faults = append(faults, err)
	_, err = certificate(s, slog.New(slog.DiscardHandler))
	return errors.Join(append(faults, err)...)
}

// certificate opens the certificate to serve with; nil without TLS.
func certificate(s Settings, log *slog.Logger) (*osb.Certificate, error) {
	if s.TLSCert == "" || s.TLSKey == "" {
		return nil, nil
	}
	c, err := osb.NewCertificate(s.TLSCert, s.TLSKey, log)
	if err != nil {
		return nil, configErrorf("CHANDLER_TLS_CERT, CHANDLER_TLS_KEY: %w", err)
	}
	return c, nil
}

// Serve works and answers until ctx ends, and then drains. It calls serving with the
// address once it accepts connections.
func (s *Server) Serve(ctx context.Context, serving func(net.Addr)) error {
	stopTracing, err := startTracing(ctx, s.settings, s.log)
	if err != nil {
		return err
	}
	defer stopTracing()
	if err := serveProfiles(ctx, s.settings.ProfileListen, s.log); err != nil {
		return err
	}
	clients, err := newClients(s.catalog, s.settings, s.log, s.metrics)
	if err != nil {
		return err
	}
	clients.drain = s.placement.SetDrained
	go clients.watch(ctx)
	warnOfCertificates(ctx, s.certificates(), s.log)
	go every(ctx, certificatesEvery, func() { warnOfCertificates(ctx, s.certificates(), s.log) })
	if s.settings.Variables != nil {
		go s.watchVariables(ctx)
	}
	api := tracedHandler(s.settings.TracingEndpoint, osb.Handler(osb.Options{
		Broker: s.broker, Catalog: s.catalog, Authenticator: clients.platforms, Logger: s.log,
		RequireVersion: !s.settings.AnyVersion, Observe: s.metrics.request,
	}))
	server, listener, err := listen(ctx, s.settings, s.routes(api, clients.operators), s.log)
	if err != nil {
		return err
	}
	s.ready.watch(ctx, s.readyChecks())
	s.placement.Watch(ctx)
	if err := s.engine.Start(ctx); err != nil {
		_ = listener.Close()
		return err
	}
	s.startBackups(ctx)
	if s.runner != nil {
		defer s.runner.Stop()
	}
	failed := serve(server, listener)
	s.log.InfoContext(ctx, "serving", "address", listener.Addr().String(), "tls", s.settings.TLSCert != "")
	serving(listener.Addr())
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, s.drain(server))
}

// listen makes a server of h, and listens on the settings' address.
func listen(ctx context.Context, s Settings, h http.Handler, log *slog.Logger) (*http.Server, net.Listener, error) {
	pair, err := certificate(s, log)
	if err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	return osb.Server(h, pair, log), listener, nil
}

// serve accepts connections. failed receives the error that ends it.
func serve(server *http.Server, listener net.Listener) (failed <-chan error) {
	ended := make(chan error, 1)
	tls := server.TLSConfig != nil // read before the server starts, which sets one for HTTP/2
	go func() {
		if tls {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	return ended
}

// drain answers 202 to clients that can poll, lets other requests and the attempts under
// way end for a while, and leaves the rest to other replicas and the next start.
func (s *Server) drain(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	s.log.InfoContext(ctx, "draining")
	s.broker.Drain()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
	if s.runner != nil {
		s.runner.Stop()
	}
	if err := s.engine.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop the job queue: %w", err)
	}
	s.log.InfoContext(context.WithoutCancel(ctx), "stopped")
	return nil
}

// routes serves the operators' pages and everything else by the API. Web pages can be added
// to the router. An http.ServeMux would redirect paths that contain an ID such as "..".
func (s *Server) routes(api http.Handler, operators *auth.Authenticator) http.Handler {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.NotFoundHandler = api
	router.HandleFunc("/healthz", serveHealth)
	router.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		operator := r.Header.Get("Authorization") != "" || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
		if operator {
			_, err := operators.Authenticate(r)
			operator = err == nil
		}
		s.serveReady(w, operator)
	})
	router.Handle("/metrics", s.forOperators(operators, s.metrics.handler()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The router's own ServeHTTP would copy each request twice.
		var match mux.RouteMatch
		router.Match(r, &match) // with a handler for 404 something always matches
		match.Handler.ServeHTTP(w, r)
	})
}

func serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// forOperators passes an operator's requests to h.
func (s *Server) forOperators(operators *auth.Authenticator, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := operators.Authenticate(r)
		if err == nil {
			h.ServeHTTP(w, r)
			return
		}
		text := err.Error()
		if len(operatorsOf(s.catalog, s.settings)) == 0 {
			text = "no operator is configured: set CHANDLER_OPERATOR_USERNAME and CHANDLER_OPERATOR_PASSWORD, or name operators in the catalog"
		}
		http.Error(w, text, osb.RefusalHeader(w.Header(), err))
	})
}
