package server

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

// Part is something that the broker works with: the state database, the credential
// store, a delivery or a backend.
type Part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// Readiness is the answer of /readyz. A broker without one of its backends is ready: a
// load balancer that excluded it would exclude all replicas.
type Readiness struct {
	Ready bool   `json:"ready"`
	Parts []Part `json:"parts,omitempty"`
}

// readyTime limits the parts' answers.
const readyTime = 3 * time.Second

// check asks one part whether it is ready.
type check struct {
	name string
	ask  func(context.Context) error
	// optional says that the broker is ready without it.
	optional bool
}

// probeEvery is how often the parts are asked.
const probeEvery = 2 * time.Second

// prober checks the parts in the background: a request to /readyz, which needs no
// authentication, gets the latest result and causes no work. Nothing is ready before the
// first check.
type prober struct {
	checks  []check
	pending []chan error // by check; nil where the part has answered

	mu     sync.Mutex
	latest Readiness
}

// watch asks once before it returns, and then repeatedly until ctx ends.
func (p *prober) watch(ctx context.Context, checks []check) {
	p.checks, p.pending = checks, make([]chan error, len(checks))
	p.ask(ctx)
	go every(ctx, probeEvery, func() { p.ask(ctx) })
}

// every calls do after each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// readiness is the latest result.
func (p *prober) readiness() Readiness {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest
}

// ask asks all parts at once and waits readyTime at most, because a client library may
// ignore ctx while a server hangs. Such a part is asked again only after it has answered.
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
	r := Readiness{Ready: true, Parts: make([]Part, len(p.checks))}
	for i, c := range p.checks {
		err, answered := answerOf(limited, p.pending[i])
		if answered {
			p.pending[i] = nil
		}
		r.Parts[i] = Part{Name: c.name, Ready: err == nil}
		if err != nil {
			r.Ready = r.Ready && c.optional
			r.Parts[i].Reason = err.Error()
		}
	}
	if ctx.Err() != nil {
		return // the parts failed because the broker ends
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = r
}

// Readiness is the latest result of the checks.
func (s *Server) Readiness() Readiness { return s.ready.readiness() }

func (s *Server) readyChecks() []check {
	checks := []check{
		{name: "state database", ask: s.stateReady},
		{name: "credential store", ask: s.credentials.Ready},
	}
	for _, way := range slices.Sorted(maps.Keys(s.deliveries)) {
		checks = append(checks, check{"delivery " + way, s.deliveries[way].Ready, true})
	}
	if s.archive != nil {
		checks = append(checks, check{"store of backups", s.archive.Ready, true})
	}
	for _, server := range s.catalog.Servers() {
		checks = append(checks, check{"backend " + server.Key(), s.drivers[server.Key()].CheckReady, true})
	}
	return checks
}

// errReadOnly is the fault of a state database after a fail-over, or during maintenance.
var errReadOnly = errors.New("accepts no writes: it is a standby, or default_transaction_read_only is on; point DATABASE_URL to the primary")

// stateReady asks for what an accepted operation needs: writes and locks. A full disk shows
// in the broker's last write.
func (s *Server) stateReady(ctx context.Context) error {
	var readOnly bool
	err := s.store.Pool.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::boolean
		FROM pg_advisory_xact_lock_shared(hashtextextended('ready', 0))`).Scan(&readOnly)
	switch {
	case err != nil:
		return err
	case readOnly:
		return errReadOnly
	}
	return s.store.Exhausted()
}

// errNoAnswer is the fault of a part that hangs.
var errNoAnswer = errors.New("did not answer in time")

// answerOf prefers an answer to the end of ctx, which may have come while another part
// was waited for.
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

// serveReady tells an operator which parts are not ready and why, and others, such as load
// balancers, only whether the broker is ready.
func (s *Server) serveReady(w http.ResponseWriter, operator bool) {
	r := s.Readiness()
	if !operator {
		r.Parts = nil
	}
	writeReady(w, r)
}

func writeReady(w http.ResponseWriter, r Readiness) {
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}
