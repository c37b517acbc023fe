package main

import (
	"context"
	"encoding/json"
	"errors"
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

func (h *health) set(err error) {
	runtime := part{Name: "runtime", Ready: err == nil}
	if err != nil {
		runtime.Reason = err.Error()
	}
	h.last.Store(&readiness{runtime.Ready, []part{runtime}})
}

// watch checks once before it returns, and then until ctx ends; from then on the
// runtime is not ready.
func (h *health) watch(ctx context.Context, ready func(context.Context) error) {
	check := func() {
		limited, cancel := context.WithTimeout(ctx, probeTime)
		defer cancel()
		h.set(ready(limited))
	}
	check()
	go func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				h.set(errors.New("it is being stopped"))
				return
			case <-tick.C:
				check()
			}
		}
	}()
}

// serve answers /readyz with reasons.
func (h *health) serve(w http.ResponseWriter, _ *http.Request) {
	r := h.last.Load()
	w.Header().Set("Content-Type", "application/json")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r)
}
