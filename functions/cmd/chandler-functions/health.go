package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// probeEvery is how old an answer of /readyz may be.
	probeEvery = 2 * time.Second
	// probeTime is how long the database may take to answer.
	probeTime = 3 * time.Second
)

// readiness is the answer of /readyz.
type readiness struct {
	Ready bool   `json:"ready"`
	Parts []part `json:"parts"`
}

type part struct {
	Name   string `json:"name"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// health is the latest readiness. It is checked in the background, so that a
// request to /readyz, which anybody may send, causes no work.
type health struct{ last atomic.Pointer[readiness] }

func (h *health) latest() readiness {
	if r := h.last.Load(); r != nil {
		return *r
	}
	return readiness{}
}

func (h *health) set(reason string) {
	h.last.Store(&readiness{Ready: reason == "", Parts: []part{{"runtime", reason == "", reason}}})
}

// watch checks once before it returns, and then until ctx ends; from then on the
// runtime is not ready.
func (h *health) watch(ctx context.Context, ready func(context.Context) error) {
	check := func() {
		limited, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		if err := ready(limited); err != nil {
			h.set(err.Error())
		} else {
			h.set("")
		}
	}
	check()
	go func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				h.set("it is being stopped")
				return
			case <-tick.C:
				check()
			}
		}
	}()
}

// serve answers /readyz with reasons.
func (h *health) serve(w http.ResponseWriter, _ *http.Request) {
	r := h.latest()
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}
