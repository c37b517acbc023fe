package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// A server that is stopped in its tracks accepts connections and answers
// nothing; /readyz is asked most when that is so.
func TestAskAll(t *testing.T) {
	ended := make(chan struct{})
	defer close(ended)
	well := func(context.Context) error { return nil }
	hangs := func(context.Context) error { <-ended; return nil }
	for _, c := range []struct {
		name   string
		checks []check
		want   readiness
	}{
		{
			name:   "all is well",
			checks: []check{{name: "a", ask: well}, {name: "b", ask: well}},
			want:   readiness{Ready: true, Parts: []part{{Name: "a", Ready: true}, {Name: "b", Ready: true}}},
		},
		{
			name:   "one says why it is not",
			checks: []check{{name: "a", ask: func(context.Context) error { return errors.New("sealed") }}, {name: "b", ask: well}},
			want:   readiness{Parts: []part{{Name: "a", Reason: "sealed"}, {Name: "b", Ready: true}}},
		},
		{
			name:   "one hangs, whatever its context says",
			checks: []check{{name: "a", ask: hangs}, {name: "b", ask: well}},
			want:   readiness{Parts: []part{{Name: "a", Reason: errNoAnswer.Error()}, {Name: "b", Ready: true}}},
		},
		{
			name:   "one that the broker can do without",
			checks: []check{{"a", hangs, true}, {name: "b", ask: well}},
			want:   readiness{Ready: true, Parts: []part{{Name: "a", Reason: errNoAnswer.Error()}, {Name: "b", Ready: true}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if diff := cmp.Diff(c.want, askAll(ctx, c.checks)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// After a fail-over to a standby reads go on, and nothing can be accepted.
func TestStateReady(t *testing.T) {
	url := embeddedtest.Database(t)
	a := stateOnly(t, url, nil)
	if err := a.stateReady(t.Context()); err != nil {
		t.Errorf("all is well: %v", err)
	}
	_, err := a.store.Pool.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$")
	if err != nil {
		t.Fatal(err)
	}
	a.store.Pool.Reset() // the setting holds for new sessions
	if err := a.stateReady(t.Context()); !errors.Is(err, errReadOnly) {
		t.Errorf("got %v, want to be told that it takes no writes", err)
	}
}
