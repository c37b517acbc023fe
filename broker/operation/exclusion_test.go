package operation_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
)

// Binds of one instance run side by side.
func TestBindsSideBySide(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Cascading, ""))
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	var ids []string
	for n := range 4 {
		ids = append(ids, bind(t, h, "i", fmt.Sprint(n), brokertest.Cascading))
	}
	for range ids {
		gate.AwaitCall(t) // all of them, before any has passed
	}
	gate.Open()
	for _, id := range ids {
		done(t, h, id)
	}
	consistent(t, h)
}

// Binds and unbinds at a backend that wants them serial run one at a time, on
// all replicas together; those of another instance do not wait for them.
func TestSerialBinds(t *testing.T) {
	t.Parallel()
	b := brokertest.NewBackend()
	b.Serial()
	hs := replicas(t, 2, brokertest.Options{Backend: b, AsyncWait: time.Nanosecond})
	done(t, hs[0], provision(t, hs[0], "i", brokertest.Cascading, ""))
	done(t, hs[0], provision(t, hs[0], "other", brokertest.Cascading, ""))
	first := bind(t, hs[0], "i", "first", brokertest.Cascading)
	done(t, hs[0], first)
	gate := brokertest.NewGate()
	var running, most atomic.Int32
	b.BeforeCall(func(ctx context.Context, verb, id string) error {
		if id == "elsewhere" {
			return nil
		}
		now := running.Add(1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		defer running.Add(-1)
		return gate.Pass(ctx)
	})
	ids := []string{unbind(t, hs[0], "i", "first")}
	for n := range 8 {
		ids = append(ids, bind(t, hs[n%2], "i", fmt.Sprint(n), brokertest.Cascading))
	}
	gate.AwaitCall(t)
	done(t, hs[1], bind(t, hs[1], "other", "elsewhere", brokertest.Cascading))
	gate.Open()
	for _, id := range ids {
		done(t, hs[0], id)
	}
	if n := most.Load(); n != 1 {
		t.Errorf("%d ran side by side", n)
	}
	consistent(t, hs[0])
}

// exclusion watches the calls of a backend for those that must not run side by
// side: an instance's own, and its own and its bindings'.
type exclusion struct {
	mu      sync.Mutex
	own     map[string]int
	binds   map[string]int
	binding map[string]int
	broken  []string
}

func newExclusion() *exclusion {
	return &exclusion{own: map[string]int{}, binds: map[string]int{}, binding: map[string]int{}}
}

// enter notes a call that begins, and returns what notes its end.
func (x *exclusion) enter(verb, id string) (leave func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	counts, instance := x.own, id
	if verb == "bind" || verb == "unbind" {
		counts, instance = x.binds, instanceOf(id)
		if x.binding[id] > 0 {
			x.broken = append(x.broken, verb+" "+id+" beside another on the same binding")
		}
		x.binding[id]++
	}
	if x.own[instance] > 0 || counts[instance] > 0 && instance == id {
		x.broken = append(x.broken, verb+" "+id+" beside one of the instance's own")
	}
	if instance == id && x.binds[instance] > 0 {
		x.broken = append(x.broken, verb+" "+id+" beside one of its bindings'")
	}
	counts[instance]++
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		counts[instance]--
		if instance != id {
			x.binding[id]--
		}
	}
}

// instanceOf is the instance of a binding whose ID is "instance/binding".
func instanceOf(binding string) string {
	for i := range binding {
		if binding[i] == '/' {
			return binding[:i]
		}
	}
	return ""
}
