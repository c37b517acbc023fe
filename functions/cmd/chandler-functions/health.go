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
	probeEvery = 2 * time.Second
	probeTime  = 3 * time.Second // for the database to answer
)

// health is why the runtime is not ready, or empty. It is checked in the background, so
// that a request to /readyz, which anybody may send, causes no work.
type health struct{ reason atomic.Pointer[string] }

func (h *health) set(err error) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	h.reason.Store(&reason)
}

// ready is called after watch.
func (h *health) ready() bool { return *h.reason.Load() == "" }

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
	w.Header().Set("Content-Type", "application/json")
	reason := *h.reason.Load() // once: it may change
	part := map[string]any{"name": "runtime", "ready": reason == ""}
	if reason != "" {
		part["reason"] = reason
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": part["ready"], "parts": []any{part}})
}
