package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/broker/osb"
)

// awaitEvery is how often Vault is asked while it is waited for.
const awaitEvery = 2 * time.Second

// awaitCatalog waits for a Vault that is sealed or away, where the catalog reads
// variables that only Vault has: a broker that ended instead would have to be started
// again by hand, or be restarted over and over. Meanwhile it answers on its port that
// it is not ready, and why. It ends early with ctx, and for a fault that waiting does
// not repair.
func awaitCatalog(ctx context.Context, s settings, log *slog.Logger, every time.Duration, listening func(net.Addr)) error {
	err := vaultAway(s)
	if err == nil {
		return nil
	}
	if fault := checkEnvironment(s); fault != nil {
		return errors.Join(fault, err)
	}
	tell := func() {
		log.WarnContext(ctx, "waiting for the credential store, which holds variables that the catalog reads", "error", err.Error())
	}
	tell()
	server, fault := waitingServer(ctx, s, log, listening)
	if fault != nil {
		return fault
	}
	defer func() { _ = server.Close() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		told := err.Error()
		if err = vaultAway(s); err == nil {
			log.InfoContext(ctx, "the credential store answers; continuing the start")
			return nil
		}
		if err.Error() != told {
			tell()
		}
	}
}

// vaultAway returns the error if Vault is the reason why the catalog cannot be read.
func vaultAway(s settings) error {
	if address, _ := s.lookup("VAULT_ADDR"); address == "" || s.administrators == nil {
		return nil
	}
	s.administrators.again()
	if _, err := loadCatalog(s); err == nil {
		return nil
	}
	return s.administrators.unread()
}

// waitingServer answers while the broker waits: alive, but not ready.
func waitingServer(ctx context.Context, s settings, log *slog.Logger, listening func(net.Addr)) (*http.Server, error) {
	pair, err := certificate(s, log)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := osb.Server(http.HandlerFunc(serveWaiting), pair, log)
	go func() {
		if pair != nil {
			_ = server.ServeTLS(listener, "", "") // until it is closed
			return
		}
		_ = server.Serve(listener)
	}()
	listening(listener.Addr())
	return server, nil
}

// whyWaiting names no server: anybody may read it.
const whyWaiting = "waiting for the credential store, which holds variables that the catalog reads: is Vault sealed? The log has its answer"

func serveWaiting(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		_, _ = w.Write([]byte("ok\n"))
	case "/readyz":
		writeReady(w, readiness{Parts: []part{{Name: "credential store", Reason: whyWaiting}}})
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"description": "the broker is starting; repeat the request later"})
	}
}
