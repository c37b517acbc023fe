package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// part is one thing the broker cannot work without, and how it is.
type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready bool   `json:"ready"`
	Parts []part `json:"parts"`
}

// checkReady asks all parts at once and waits 3 s at most.
func (a *app) checkReady(ctx context.Context) readiness {
	type check struct {
		name string
		ask  func(context.Context) error
	}
	checks := []check{
		{"state database", a.store.Pool.Ping},
		{"credential store", a.credentials.Ready},
	}
	for _, b := range a.catalog.Backends() {
		checks = append(checks, check{"backend " + b.Name, a.drivers[b.Name].Ready})
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r := readiness{Ready: true, Parts: make([]part, len(checks))}
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			r.Parts[i] = part{Name: c.name, Ready: true}
			if err := c.ask(ctx); err != nil {
				r.Parts[i].Ready, r.Parts[i].Reason = false, err.Error()
			}
		})
	}
	all.Wait()
	for _, p := range r.Parts {
		r.Ready = r.Ready && p.Ready
	}
	return r
}

func (a *app) serveReady(w http.ResponseWriter, req *http.Request) {
	r := a.checkReady(req.Context())
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}
