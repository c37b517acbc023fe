package operation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Work that goes on at the server is shown, and counts no attempts.
func TestNotYet(t *testing.T) {
	h := soon(t)
	gate := brokertest.NewGate()
	var calls atomic.Int32
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error {
		switch calls.Add(1) {
		case 1:
			return services.NotYet(time.Millisecond, "building: 50 %")
		case 2:
			return gate.Pass(ctx)
		}
		return nil
	})
	id := provision(t, h, "i", brokertest.Small, "")
	gate.AwaitCall(t)
	if op := row(t, h, id); op.Description != "building: 50 %" || op.Attempts != 0 || op.LastError != "" {
		t.Errorf("in progress: %q, %d attempts, last error %q", op.Description, op.Attempts, op.LastError)
	}
	gate.Open()
	done(t, h, id)
	if op := row(t, h, id); op.Description != "" || op.Outcome != store.OutcomeSucceeded {
		t.Errorf("ended: %q, %s", op.Description, op.Outcome)
	}
}

// A passing error is tried again, and shown to the operator only.
func TestRetry(t *testing.T) {
	h := soon(t)
	gate := brokertest.NewGate()
	var calls atomic.Int32
	var times [3]time.Time
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error {
		n := calls.Add(1)
		times[n-1] = time.Now()
		if n < 3 {
			return errors.New("server at 10.0.0.1 is away")
		}
		return gate.Pass(ctx)
	})
	id := provision(t, h, "i", brokertest.Small, "")
	gate.AwaitCall(t)
	op := row(t, h, id)
	if op.Attempts != 2 || op.LastError != "server at 10.0.0.1 is away" || strings.Contains(op.Description, "10.0.0.1") {
		t.Errorf("in progress: %+v", op)
	}
	if first, second := times[1].Sub(times[0]), times[2].Sub(times[1]); first < 100*time.Millisecond || second < 200*time.Millisecond {
		t.Errorf("tried again after %s and %s", first, second)
	}
	gate.Open()
	done(t, h, id)
}

// A server without room is tried again like any other; the user is told of the
// room, before and after the deadline, and the operator what the server said.
func TestNoRoom(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Short, ""))
	full := services.OutOfCapacity(errors.New("disk of 10.0.0.1 is full"))
	gate := brokertest.NewGate()
	var calls atomic.Int32
	h.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb != "bind" {
			return nil
		}
		if calls.Add(1) == 2 {
			if err := gate.Pass(ctx); err != nil {
				return err
			}
		}
		return fmt.Errorf("wrapped: %w", full)
	})
	id := bind(t, h, "i", "b", brokertest.Short)
	gate.AwaitCall(t)
	told := func(op store.Operation) {
		t.Helper()
		if !strings.Contains(op.Description, "the service has no capacity left: ask its operator") || op.LastError != "wrapped: disk of 10.0.0.1 is full" {
			t.Errorf("description %q, last error %q", op.Description, op.LastError)
		}
	}
	op := row(t, h, id)
	told(op)
	if op.Attempts != 1 {
		t.Errorf("%d attempts", op.Attempts)
	}
	gate.Open()
	op = h.AwaitOperation(t, id)
	told(op)
	if op.Outcome != store.OutcomeTimedOut || !op.Usable || !strings.HasSuffix(op.Description, id) {
		t.Errorf("ended: %+v", op)
	}
}

// onTime is how long after its deadline an operation may end: the job queue's
// and a busy machine's delays.
const onTime = 5 * time.Second

// How each kind of operation ends where its backend fails for good. There is an
// instance i with a binding b. calls are those of the operation, repeated ones
// once.
func TestEnds(t *testing.T) {
	rejected, away := services.Rejected("not this one"), errors.New("away")
	prepare := func(t *testing.T, h *brokertest.Harness) {
		done(t, h, provision(t, h, "i", brokertest.Short, `{"colour": "red"}`))
		done(t, h, bind(t, h, "i", "b", brokertest.Short))
	}
	tests := []struct {
		name    string
		fails   map[string]error
		do      func(*testing.T, *brokertest.Harness) string
		outcome store.Outcome
		usable  bool
		calls   []string
	}{
		{"provision rejected", map[string]error{"provision j": rejected}, func(t *testing.T, h *brokertest.Harness) string {
			return provision(t, h, "j", brokertest.Short, "")
		}, store.OutcomeRejected, true, []string{"provision j", "deprovision j"}},
		{"provision failed", map[string]error{"provision j": away}, func(t *testing.T, h *brokertest.Harness) string {
			return provision(t, h, "j", brokertest.Short, "")
		}, store.OutcomeTimedOut, true, []string{"provision j", "deprovision j"}},
		{"provision and its clean-up failed", map[string]error{"provision j": away, "deprovision j": away}, func(t *testing.T, h *brokertest.Harness) string {
			return provision(t, h, "j", brokertest.Short, "")
		}, store.OutcomeTimedOut, false, []string{"provision j", "deprovision j"}},
		{"clean-up rejected", map[string]error{"provision j": rejected, "deprovision j": rejected}, func(t *testing.T, h *brokertest.Harness) string {
			return provision(t, h, "j", brokertest.Short, "")
		}, store.OutcomeRejected, false, []string{"provision j", "deprovision j"}},
		{"update rejected", map[string]error{"update i": rejected}, func(t *testing.T, h *brokertest.Harness) string {
			return update(t, h, "i", `{"colour": "blue"}`)
		}, store.OutcomeRejected, false, []string{"update i"}},
		{"bind failed", map[string]error{"bind c": away}, func(t *testing.T, h *brokertest.Harness) string {
			return bind(t, h, "i", "c", brokertest.Short)
		}, store.OutcomeTimedOut, true, []string{"bind c", "unbind c"}},
		{"bind and its clean-up failed", map[string]error{"bind c": away, "unbind c": away}, func(t *testing.T, h *brokertest.Harness) string {
			return bind(t, h, "i", "c", brokertest.Short)
		}, store.OutcomeTimedOut, false, []string{"bind c", "unbind c"}},
		{"unbind rejected", map[string]error{"unbind b": rejected}, func(t *testing.T, h *brokertest.Harness) string {
			return unbind(t, h, "i", "b")
		}, store.OutcomeRejected, true, []string{"unbind b"}},
		{"unbind failed", map[string]error{"unbind b": away}, func(t *testing.T, h *brokertest.Harness) string {
			return unbind(t, h, "i", "b")
		}, store.OutcomeTimedOut, false, []string{"unbind b"}},
		{"work that never ends", map[string]error{"bind c": services.NotYet(time.Hour, "soon")}, func(t *testing.T, h *brokertest.Harness) string {
			return bind(t, h, "i", "c", brokertest.Short)
		}, store.OutcomeTimedOut, true, []string{"bind c", "unbind c"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := soon(t)
			prepare(t, h)
			before := len(h.Backend.Calls())
			h.Backend.BeforeCall(func(_ context.Context, verb, id string) error { return test.fails[verb+" "+id] })
			op := h.AwaitOperation(t, test.do(t, h))
			if op.State != store.Failed || op.Outcome != test.outcome || op.Usable != test.usable || op.FinishedAt == nil {
				t.Errorf("%s, %s, usable %v: %q", op.State, op.Outcome, op.Usable, op.Description)
			}
			if late := op.FinishedAt.Sub(op.Deadline); late > onTime {
				t.Errorf("%s after its deadline", late)
			}
			calls := h.Backend.Calls()[before:]
			times := map[string]int{}
			for _, call := range calls {
				times[call]++
			}
			if diff := cmp.Diff(test.calls, slices.Compact(slices.Clone(calls))); diff != "" {
				t.Errorf("calls, repeated ones once (-want +got):\n%s", diff)
			}
			if n := times["provision j"]; test.outcome == store.OutcomeRejected && n > 1 {
				t.Errorf("what was rejected was tried %d times", n)
			}
		})
	}
}

// Calls that hang are cut off in time for the clean-up, and all is over by the
// deadline even where that hangs too.
func TestHangs(t *testing.T) {
	h := soon(t)
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	})
	op := h.AwaitOperation(t, provision(t, h, "i", brokertest.Short, ""))
	if op.Outcome != store.OutcomeTimedOut || op.Usable {
		t.Errorf("ended as %s, usable %v", op.Outcome, op.Usable)
	}
	if late := op.FinishedAt.Sub(op.Deadline); late > onTime {
		t.Errorf("%s after its deadline", late)
	}
	if diff := cmp.Diff([]string{"provision i", "deprovision i"}, h.Backend.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// Whatever bytes a backend's message holds, the operation ends.
func TestHostileMessages(t *testing.T) {
	tests := map[string]string{
		"NUL": "a\x00b", "no UTF-8": "a\xff\xfeb", "long": strings.Repeat("ä", 100_000), "empty": "", "cut in a rune": "a" + strings.Repeat("ä", 4096),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			h := soon(t)
			var calls atomic.Int32
			h.Backend.BeforeCall(func(_ context.Context, verb, _ string) error {
				switch calls.Add(1) {
				case 1:
					return services.NotYet(time.Millisecond, text)
				case 2:
					return errors.New(text)
				case 3:
					return services.Rejected("%s", text)
				}
				return nil
			})
			if op := h.AwaitOperation(t, provision(t, h, "i", brokertest.Small, "")); op.Outcome != store.OutcomeRejected {
				t.Errorf("ended as %s", op.Outcome)
			}
			h.CheckEmpty(t)
		})
	}
}

// A panic is an error like any other, whose value may be a secret.
func TestPanic(t *testing.T) {
	h := soon(t)
	var calls atomic.Int32
	h.Backend.BeforeCall(func(context.Context, string, string) error {
		if calls.Add(1) == 1 {
			panic("hunter2")
		}
		return nil
	})
	id := provision(t, h, "i", brokertest.Small, "")
	done(t, h, id)
	if op := row(t, h, id); op.Attempts != 1 {
		t.Errorf("%d attempts", op.Attempts)
	}
	if n := query[int](t, h, "select count(*) from river_job where errors::text like '%hunter2%'"); n != 0 {
		t.Error("the panic's value is in the job queue's table")
	}
}
