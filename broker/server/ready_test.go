package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// A server that is stopped in its tracks accepts connections and answers
// nothing; /readyz is asked most when that is so.
func TestProber(t *testing.T) {
	type ask = func(context.Context) error
	well := func(context.Context) error { return nil }
	sealed := func(context.Context) error { return errors.New("sealed") }
	for _, c := range []struct {
		name   string
		checks func(hangs ask) []check
		want   Readiness
	}{
		{
			name:   "all is well",
			checks: func(ask) []check { return []check{{name: "a", ask: well}, {name: "b", ask: well}} },
			want:   Readiness{Ready: true, Parts: []Part{{Name: "a", Ready: true}, {Name: "b", Ready: true}}},
		},
		{
			name:   "one says why it is not",
			checks: func(ask) []check { return []check{{name: "a", ask: sealed}, {name: "b", ask: well}} },
			want:   Readiness{Parts: []Part{{Name: "a", Reason: "sealed"}, {Name: "b", Ready: true}}},
		},
		{
			name:   "one hangs, whatever its context says",
			checks: func(hangs ask) []check { return []check{{name: "a", ask: hangs}, {name: "b", ask: well}} },
			want:   Readiness{Parts: []Part{{Name: "a", Reason: errNoAnswer.Error()}, {Name: "b", Ready: true}}},
		},
		{
			name:   "one that the broker can do without",
			checks: func(hangs ask) []check { return []check{{"a", hangs, true}, {name: "b", ask: well}} },
			want:   Readiness{Ready: true, Parts: []Part{{Name: "a", Reason: errNoAnswer.Error()}, {Name: "b", Ready: true}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan struct{})
				defer close(ended)
				var p prober
				if r := p.readiness(); r.Ready {
					t.Error("ready before anything was asked")
				}
				p.watch(t.Context(), c.checks(func(context.Context) error { <-ended; return nil }))
				if diff := cmp.Diff(c.want, p.readiness()); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		})
	}
}

// Callers cause no work, and a part that hangs is asked once.
func TestProberAsksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, hung atomic.Int32
		ended := make(chan struct{})
		var s Server
		s.ready.watch(t.Context(), []check{
			{name: "a", ask: func(context.Context) error { asked.Add(1); return nil }},
			{name: "b", ask: func(context.Context) error { hung.Add(1); <-ended; return nil }},
		})
		for range 1000 {
			w := httptest.NewRecorder()
			if s.serveReady(w, false); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "parts") {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		time.Sleep(time.Minute)
		if asked.Load() < 10 || hung.Load() != 1 {
			t.Errorf("asked %d times, and the part that hangs %d times", asked.Load(), hung.Load())
		}
		close(ended)
		time.Sleep(2 * (probeEvery + readyTime))
		if !s.ready.readiness().Ready {
			t.Error("not ready although all parts answer again")
		}
	})
}

// After a fail-over to a standby reads go on, and nothing can be accepted.
func TestStateReady(t *testing.T) {
	url := embeddedtest.Database(t)
	s := newServer(t, url)
	if err := s.stateReady(t.Context()); err != nil {
		t.Errorf("all is well: %v", err)
	}
	_, err := s.store.Pool.Exec(t.Context(), "DO $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$")
	if ready := s.stateReady(t.Context()); err == nil || ready == nil || !strings.Contains(ready.Error(), "no space left") {
		t.Errorf("got %v, want an error about the full disk", ready)
	}
	_, err = s.store.Pool.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
	if err != nil {
		t.Fatal(err)
	}
	s.store.Pool.Reset() // the setting holds for new sessions
	if err := s.stateReady(t.Context()); !errors.Is(err, errReadOnly) {
		t.Errorf("got %v, want an error about writes", err)
	}
}
