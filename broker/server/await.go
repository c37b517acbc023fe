package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// awaitEvery is how often Await asks.
const awaitEvery = 2 * time.Second

// Await waits while the catalog needs variables of a credential store that does not answer,
// such as a sealed Vault. Without it the broker would end and have to be restarted. It
// answers on the broker's port that it is not ready, and why. It ends early with ctx, and
// with a fault that waiting does not repair.
func Await(ctx context.Context, s Settings, log *slog.Logger) error {
	err := storeAway(s)
	if err == nil {
		return nil
	}
	if fault := checkEnvironment(s); fault != nil {
		return errors.Join(fault, err)
	}
	const message = "waiting for the credential store, which holds variables that the catalog reads"
	log.WarnContext(ctx, message, "error", err.Error())
	server, listener, fault := listen(ctx, s, http.HandlerFunc(serveWaiting), log)
	if fault != nil {
		return fault
	}
	defer func() { _ = server.Close() }()
	serve(server, listener)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(awaitEvery):
		}
		before := err.Error()
		if err = storeAway(s); err == nil {
			log.InfoContext(ctx, "the credential store answers; continuing the start")
			return nil
		}
		if err.Error() != before {
			log.WarnContext(ctx, message, "error", err.Error())
		}
	}
}

// storeAway returns the error if a store outside of the state is the reason why the
// catalog cannot be read.
func storeAway(s Settings) error {
	if named, err := s.CredentialStore(s.Lookup); err != nil || named.InState || s.Variables == nil {
		return nil
	}
	s.Variables.retry()
	if _, err := LoadCatalog(s); err == nil {
		return nil
	}
	return s.Variables.unread()
}

// whyWaiting names no server: unauthenticated clients read it.
const whyWaiting = "waiting for the credential store, which holds variables that the catalog reads: is Vault sealed? See the log for its answer"

func serveWaiting(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		serveHealth(w, r)
	case "/readyz":
		writeReady(w, Readiness{Parts: []Part{{Name: "credential store", Reason: whyWaiting}}})
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"description": "the broker is starting; repeat the request later"})
	}
}
