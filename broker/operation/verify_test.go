package operation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
)

// breakable makes a broker whose applications can break their credentials, with an
// instance i and a binding b.
func breakable(t *testing.T, every time.Duration, verify func(ctx context.Context, id string) error) *brokertest.Harness {
	t.Helper()
	t.Parallel()
	b := brokertest.NewBackend()
	b.OnVerify(verify)
	h := replicas(t, 1, brokertest.Options{Backend: b, VerifyEvery: every, AsyncWait: time.Nanosecond})[0]
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	done(t, h, bind(t, h, "i", "b", brokertest.Small))
	return h
}

func always(context.Context, string) error { return nil }

// What an application broke works again when its credentials are asked for once
// more, by a repeated bind or a fetch.
func TestAnswersAreVerified(t *testing.T) {
	h := breakable(t, time.Hour, always)
	given := credentials(t, h, "i", "b")
	for name, ask := range map[string]func(){
		"fetch":         func() { credentials(t, h, "i", "b") },
		"repeated bind": func() { bind(t, h, "i", "b", brokertest.Small) },
	} {
		h.Backend.Break()
		if h.Backend.Works(given) {
			t.Fatal("the credentials are not broken")
		}
		if ask(); !h.Backend.Works(given) {
			t.Errorf("%s: the credentials do not work", name)
		}
	}
}

// A server that is away, or hangs, keeps nobody from their credentials.
func TestAnswersDoNotNeedTheServer(t *testing.T) {
	hangs := false
	h := breakable(t, time.Hour, func(ctx context.Context, _ string) error {
		if hangs {
			<-ctx.Done()
		}
		return errors.New("away")
	})
	credentials(t, h, "i", "b")
	hangs = true
	began := time.Now()
	credentials(t, h, "i", "b")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the answer took %s", took)
	}
}

// An unbind waits for a verification in progress, so that no revoked credential is
// repaired.
func TestVerifyExcludesUnbind(t *testing.T) {
	gate := brokertest.NewGate()
	h := breakable(t, time.Hour, func(ctx context.Context, _ string) error { return gate.Pass(ctx) })
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		_, _ = h.FetchBinding(brokertest.CallerContext(), "i", "b") // is told of the unbind, or not yet
	}()
	gate.AwaitCall(t)
	id := unbind(t, h, "i", "b")
	time.Sleep(300 * time.Millisecond)
	if _, bindings := h.Backend.Size(); bindings != 1 {
		t.Error("the unbind did not wait")
	}
	gate.Open()
	<-fetched
	done(t, h, id)
	if _, bindings := h.Backend.Size(); bindings != 0 {
		t.Error("the binding is there again")
	}
}

// Bindings that nobody asks for are verified in rounds; one that cannot be, or whose
// seed is gone, keeps no other from it.
func TestBindingsAreVerifiedInRounds(t *testing.T) {
	h := breakable(t, time.Second, func(_ context.Context, id string) error {
		if id == "a" {
			return errors.New("not this one")
		}
		return nil
	})
	done(t, h, bind(t, h, "i", "a", brokertest.Small))
	done(t, h, bind(t, h, "i", "c", brokertest.Small))
	if _, err := h.Store.Pool.Exec(t.Context(), "update bindings set status = 'delete_failed' where id = 'c'"); err != nil {
		t.Fatal(err)
	}
	given := credentials(t, h, "i", "b")
	h.Backend.Break()
	eventually(t, "b works again", func() bool { return h.Backend.Works(given) })
}
