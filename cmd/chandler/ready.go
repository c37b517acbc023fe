package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"
)

// part is one thing that the broker works with, and how it is.
type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// readiness is the answer of /readyz. A broker without one of its backends is
// ready: a balancer that took it away would take all others with it.
type readiness struct {
	Ready bool   `json:"ready"`
	Parts []part `json:"parts,omitempty"`
}

// readyTime is how long the parts may take to say how they are.
const readyTime = 3 * time.Second

// check asks one part how it is.
type check struct {
	name string
	ask  func(context.Context) error
	// spared says that the broker is ready without it.
	spared bool
}

// checkReady asks all parts at once and waits readyTime at most.
func (a *app) checkReady(ctx context.Context) readiness {
	checks := []check{
		{name: "state database", ask: a.stateReady},
		{name: "credential store", ask: a.credentials.Ready},
	}
	for _, way := range slices.Sorted(maps.Keys(a.deliveries)) {
		checks = append(checks, check{"delivery " + way, a.deliveries[way].Ready, true})
	}
	for _, s := range a.catalog.Servers() {
		checks = append(checks, check{"backend " + s.Key(), a.drivers[s.Key()].Ready, true})
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return askAll(ctx, checks)
}

// errReadOnly is what is wrong with a state database after a fail-over to a
// standby, or one whose administrator shut it for maintenance.
var errReadOnly = errors.New("takes no writes: it is a standby, or default_transaction_read_only is on; point DATABASE_URL to the primary")

// stateReady asks for what a broker needs: a database that only answers reads
// accepts no operation.
func (a *app) stateReady(ctx context.Context) error {
	var readOnly bool
	err := a.store.Pool.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly)
	if err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	return nil
}

// askAll returns when ctx ends, whether the parts have answered or not: a
// client library may wait for a server that hangs without looking at ctx.
func askAll(ctx context.Context, checks []check) readiness {
	answers := make([]chan error, len(checks))
	for i, c := range checks {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- c.ask(ctx) }()
	}
	r := readiness{Ready: true, Parts: make([]part, len(checks))}
	for i, c := range checks {
		r.Parts[i] = part{Name: c.name, Ready: true}
		if err := answerOf(ctx, answers[i]); err != nil {
			r.Ready = r.Ready && c.spared
			r.Parts[i].Ready, r.Parts[i].Reason = false, err.Error()
		}
	}
	return r
}

// errNoAnswer is what is wrong with a part that hangs.
var errNoAnswer = errors.New("does not answer in time")

// answerOf prefers an answer that is there to the end of ctx, which may have
// come while another part was waited for.
func answerOf(ctx context.Context, answer <-chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-answer:
		return err
	default:
		return errNoAnswer
	}
}

// serveReady tells an operator what is not ready and why, and others whether
// something is.
func (a *app) serveReady(w http.ResponseWriter, req *http.Request, operator bool) {
	r := a.checkReady(req.Context())
	if !operator {
		r.Parts = nil
	}
	writeReady(w, r)
}

func writeReady(w http.ResponseWriter, r readiness) {
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}
