package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
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

// probeEvery is how old an answer of /readyz may be, beside the time that the parts
// take to answer.
const probeEvery = 2 * time.Second

// prober checks the parts in the background: a request to /readyz, which anybody may
// send, gets the latest result and causes no work. Nothing is ready before the first
// check.
type prober struct {
	checks  []check
	pending []chan error // of parts that have not answered yet, by check

	mu     sync.Mutex
	latest readiness
}

// watch asks once before it returns, and then until ctx ends.
func (p *prober) watch(ctx context.Context, checks []check) {
	p.checks, p.pending = checks, make([]chan error, len(checks))
	p.ask(ctx)
	go func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.ask(ctx)
			}
		}
	}()
}

// readiness is the latest result.
func (p *prober) readiness() readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// ask asks all parts at once and waits readyTime at most: a client library may wait
// for a server that hangs without looking at ctx. Such a part is asked again when
// it has answered.
func (p *prober) ask(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for i, c := range p.checks {
		if p.pending[i] != nil {
			continue
		}
		answer := make(chan error, 1)
		p.pending[i] = answer
		go func() { answer <- c.ask(limited) }()
	}
	r := readiness{Ready: true, Parts: make([]part, len(p.checks))}
	for i, c := range p.checks {
		err, answered := answerOf(limited, p.pending[i])
		if answered {
			p.pending[i] = nil
		}
		r.Parts[i] = part{Name: c.name, Ready: err == nil}
		if err != nil {
			r.Ready = r.Ready && c.spared
			r.Parts[i].Reason = err.Error()
		}
	}
	if ctx.Err() != nil {
		return // the broker ends; the parts are not to blame
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = r
}

// readyChecks are the parts of the broker.
func (a *app) readyChecks() []check {
	checks := []check{
		{name: "state database", ask: a.stateReady},
		{name: "credential store", ask: a.credentials.Ready},
	}
	for _, way := range slices.Sorted(maps.Keys(a.deliveries)) {
		checks = append(checks, check{"delivery " + way, a.deliveries[way].Ready, true})
	}
	for _, s := range a.catalog.Servers() {
		checks = append(checks, check{"backend " + s.Key(), a.drivers[s.Key()].CheckReady, true})
	}
	return checks
}

// errReadOnly is what is wrong with a state database after a fail-over to a
// standby, or one whose administrator shut it for maintenance.
var errReadOnly = errors.New("takes no writes: it is a standby, or default_transaction_read_only is on; point DATABASE_URL to the primary")

// stateReady asks for what a broker needs: a database that only answers reads, or
// has no room in its lock table, accepts no operation. That its disk is full shows in
// what the broker wrote last.
func (a *app) stateReady(ctx context.Context) error {
	var readOnly bool
	err := a.store.Pool.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::boolean
		FROM pg_advisory_xact_lock_shared(hashtextextended('ready', 0))`).Scan(&readOnly)
	switch {
	case err != nil:
		return err
	case readOnly:
		return errReadOnly
	}
	return a.store.Exhausted()
}

// errNoAnswer is what is wrong with a part that hangs.
var errNoAnswer = errors.New("does not answer in time")

// answerOf prefers an answer that is there to the end of ctx, which may have
// come while another part was waited for.
func answerOf(ctx context.Context, answer <-chan error) (err error, answered bool) { //nolint:revive // the part's error, not the call's
	select {
	case err := <-answer:
		return err, true
	case <-ctx.Done():
	}
	select {
	case err := <-answer:
		return err, true
	default:
		return errNoAnswer, false
	}
}

// serveReady tells an operator what is not ready and why, and others whether
// something is.
func (a *app) serveReady(w http.ResponseWriter, operator bool) {
	r := a.ready.readiness()
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
