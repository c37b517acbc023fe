package operation_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub"
)

// A failed attempt says why, in words that give nothing of the error away.
func TestFailedAttemptIsTold(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(*brokertest.Harness)
		want string
	}{
		{"a server that refuses", func(h *brokertest.Harness) {
			h.Backend.BeforeCall(func(context.Context, string, string) error { return errors.New("dial 10.0.0.1: refused") })
			h.Backend.SetUnreachable("", true)
		}, `: server "memory" does not answer`},
		{"a server that answers", func(h *brokertest.Harness) {
			h.Backend.BeforeCall(func(context.Context, string, string) error { return errors.New("10.0.0.1: syntax error") })
		}, ": the last attempt failed; ask your operator and quote operation "},
		{"a credential store that is away", func(h *brokertest.Harness) {
			h.Memory.Hooks(func(string, credhub.Path) error { return errors.New("vault at 10.0.0.1 is sealed") }, nil)
		}, ": waits for the credential store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := soon(t)
			done(t, h, provision(t, h, "i", brokertest.Small, ""))
			test.fail(h)
			id := bind(t, h, "i", "b", brokertest.Small)
			eventually(t, "the first failure is told", func() bool { return row(t, h, id).Attempts > 0 })
			op := row(t, h, id)
			if !strings.HasPrefix(op.Description, "still in progress (attempt ") || !strings.Contains(op.Description, test.want) {
				t.Errorf("description %q, want %q", op.Description, test.want)
			}
			if strings.Contains(op.Description, "10.0.0.1") || !strings.Contains(op.LastError, "10.0.0.1") {
				t.Errorf("the user reads %q, the operator %q", op.Description, op.LastError)
			}
			h.Memory.Hooks(nil, nil)
			h.Backend.BeforeCall(nil)
			done(t, h, id)
		})
	}
}

// A server that accepts a call and says nothing more is told of during the call.
func TestHangingServerIsTold(t *testing.T) {
	h := soon(t)
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	h.Backend.SetUnreachable("", true)
	id := provision(t, h, "i", brokertest.Small, "")
	gate.AwaitCall(t)
	eventually(t, "the server is named", func() bool { return row(t, h, id).Description == `server "memory" does not answer` })
	h.Backend.SetUnreachable("", false)
	gate.Open()
	done(t, h, id)
	if text := row(t, h, id).Description; text != "" {
		t.Errorf("ended with %q", text)
	}
}

// An operation that another one excludes names it, and no longer once it runs.
func TestWaitForAnotherOperationIsTold(t *testing.T) {
	t.Parallel()
	backend := brokertest.NewBackend()
	backend.Serial()
	h := replicas(t, 1, brokertest.Options{Backend: backend, AsyncWait: time.Nanosecond})[0]
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	first, second := brokertest.NewGate(), brokertest.NewGate()
	var calls atomic.Int32
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error {
		if calls.Add(1) == 1 {
			return first.Pass(ctx)
		}
		return second.Pass(ctx)
	})
	a := bind(t, h, "i", "a", brokertest.Small)
	first.AwaitCall(t)
	b := bind(t, h, "i", "b", brokertest.Small)
	want := "waits for operation " + a + " on the same instance"
	eventually(t, "the other operation is named", func() bool { return row(t, h, b).Description == want })
	first.Open()
	second.AwaitCall(t)
	if text := row(t, h, b).Description; text != "" {
		t.Errorf("while it runs: %q", text)
	}
	second.Open()
	done(t, h, a)
	done(t, h, b)
}
