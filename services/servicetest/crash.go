package servicetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// step is a verb to interrupt: a function that prepares it, the verb, and a check; and,
// if the verb can be undone, the undoing verb and its check.
type step struct {
	name   string
	before func(t *testing.T, h *harness, c *crash)
	verb   func(ctx context.Context, h *harness, c *crash) error
	holds  func(t *testing.T, h *harness, c *crash)
	undo   func(t *testing.T, h *harness, c *crash) error
	undone func(t *testing.T, h *harness, c *crash)
}

// crash is the state of one interrupted verb.
type crash struct {
	resource    *resource
	other       services.RawInstance // what update goes to
	kept, bound services.RawBinding
	keptValues  services.Credentials
	boundValues services.Credentials
	live        services.Session // of the binding that goes
}

// steps returns all verbs with all parameters.
func (h *harness) steps() []step {
	var all []step
	for i, params := range h.Create {
		all = append(all, h.provisionStep(fmt.Sprintf("provision %d", i), params))
	}
	for i, params := range h.Bind {
		all = append(all, h.bindStep(fmt.Sprintf("bind %d", i), params), h.unbindStep(fmt.Sprintf("unbind %d", i), params))
	}
	if h.ReadOnly != nil {
		all = append(all, h.bindStep("bind read only", h.ReadOnly), h.unbindStep("unbind read only", h.ReadOnly))
	}
	for i := range h.updates(&resource{}) {
		all = append(all, h.updateStep(fmt.Sprintf("update %d", i), i))
	}
	return append(all, h.deprovisionStep())
}

func (h *harness) provisionStep(name string, params json.RawMessage) step {
	return step{
		name:   name,
		before: func(t *testing.T, h *harness, c *crash) { c.resource = h.instance(t, freshID(t), h.Plan, params) },
		verb:   func(ctx context.Context, h *harness, c *crash) error { return h.driver.Provision(ctx, c.resource.raw) },
		undo:   func(t *testing.T, h *harness, c *crash) error { return h.deprovision(t, c.resource) },
		undone: func(t *testing.T, h *harness, c *crash) { h.nothingLeft(t, c.resource) },
		holds: func(t *testing.T, h *harness, c *crash) {
			h.expectListed(t, c.resource)
			_, credentials := h.bound(t, c.resource, h.Bind[0])
			h.works(t, credentials)
		},
	}
}

// occupied creates an instance with a binding that must keep working, whatever happens to
// the other binding.
func occupied(t *testing.T, h *harness, c *crash) {
	t.Helper()
	c.resource = h.provisioned(t)
	c.kept, c.keptValues = h.bound(t, c.resource, h.Bind[0])
	h.writes(t, h.dialled(t, c.keptValues), "kept", "kept")
}

func stillThere(t *testing.T, h *harness, c *crash) {
	t.Helper()
	h.reads(t, h.dialled(t, c.keptValues), "kept", "kept")
	h.works(t, c.keptValues)
}

func (h *harness) bindStep(name string, params json.RawMessage) step {
	return step{
		name: name,
		before: func(t *testing.T, h *harness, c *crash) {
			occupied(t, h, c)
			c.bound = c.resource.binding(t, freshID(t), params)
		},
		verb: func(ctx context.Context, h *harness, c *crash) (err error) {
			c.boundValues, err = h.driver.Bind(ctx, c.resource.raw, c.bound)
			return err
		},
		undo: func(t *testing.T, h *harness, c *crash) error { return h.unbind(t, c.resource, c.bound) },
		undone: func(t *testing.T, h *harness, c *crash) {
			h.expectListed(t, c.resource, c.kept)
			stillThere(t, h, c)
		},
		holds: func(t *testing.T, h *harness, c *crash) {
			h.reads(t, h.dialled(t, c.boundValues), "kept", "kept")
			h.expectListed(t, c.resource, c.kept, c.bound)
			stillThere(t, h, c)
		},
	}
}

func (h *harness) unbindStep(name string, params json.RawMessage) step {
	return step{
		name: name,
		before: func(t *testing.T, h *harness, c *crash) {
			occupied(t, h, c)
			c.bound, c.boundValues = h.bound(t, c.resource, params)
			c.live = h.dialled(t, c.boundValues)
		},
		verb: func(ctx context.Context, h *harness, c *crash) error {
			b := c.bound
			b.Seed = nil
			return h.driver.Unbind(ctx, c.resource.raw, b)
		},
		holds: func(t *testing.T, h *harness, c *crash) {
			h.refused(t, c.boundValues)
			if h.alive(t, c.live) == nil {
				t.Error("the live session outlived its binding")
			}
			h.expectListed(t, c.resource, c.kept)
			stillThere(t, h, c)
		},
	}
}

func (h *harness) updateStep(name string, i int) step {
	return step{
		name: name,
		before: func(t *testing.T, h *harness, c *crash) {
			occupied(t, h, c)
			c.other = h.updates(c.resource)[i]
		},
		verb: func(ctx context.Context, h *harness, c *crash) error {
			return h.driver.Update(ctx, c.resource.raw, c.other)
		},
		holds:  stillThere,
		undo:   func(t *testing.T, h *harness, c *crash) error { return h.update(t, c.other, c.resource.raw) },
		undone: stillThere,
	}
}

func (h *harness) deprovisionStep() step {
	return step{
		name: "deprovision",
		before: func(t *testing.T, h *harness, c *crash) {
			occupied(t, h, c)
			c.bound, c.boundValues = h.bound(t, c.resource, h.paramsOf(1))
			c.live = h.dialled(t, c.keptValues)
		},
		verb: func(ctx context.Context, h *harness, c *crash) error {
			return h.driver.Deprovision(ctx, c.resource.raw)
		},
		holds: func(t *testing.T, h *harness, c *crash) {
			h.nothingLeft(t, c.resource)
			h.refused(t, c.keptValues)
			if h.alive(t, c.live) == nil {
				t.Error("the live session outlived its instance")
			}
		},
	}
}

// maxCalls is the maximum of outside calls of a verb. A verb that makes more takes too
// long for a waiting request, or never ends.
const maxCalls = 200

// testCrash interrupts each verb before each of its outside calls and after the last one.
// Then a new process repeats the verb, or undoes it. The state of the server before a
// call equals its state after the previous call, so these are all the states that a
// crash can leave.
func testCrash(t *testing.T, h *harness) {
	for _, s := range h.steps() {
		t.Run(s.name, func(t *testing.T) {
			calls := h.cutEverywhere(t, s)
			t.Logf("%d outside calls", calls)
			if calls > 0 && !t.Failed() {
				h.cutAt(t, s, calls, After)
			}
		})
	}
}

func (h *harness) cutEverywhere(t *testing.T, s step) (calls int) {
	for n := 1; n <= maxCalls; n++ {
		if cut := h.cutAt(t, s, n, Before); !cut || t.Failed() {
			return n - 1
		}
	}
	t.Fatalf("more than %d outside calls", maxCalls)
	return 0
}

// cutAt interrupts a verb at its n-th call, and reports whether it made that many.
func (h *harness) cutAt(t *testing.T, s step, n int, when Moment) (cut bool) {
	for _, undo := range []bool{false, true} {
		if undo && s.undo == nil {
			continue
		}
		t.Run(fmt.Sprintf("cut %s call %d undo %t", when, n, undo), func(t *testing.T) {
			cut = h.interrupted(t, s, n, when, undo)
		})
		if t.Failed() {
			break
		}
	}
	return cut
}

// interrupted interrupts a verb at its n-th call and converges. It reports whether the
// verb made that many calls.
func (h *harness) interrupted(t *testing.T, s step, n int, when Moment, undo bool) bool {
	c := &crash{}
	s.before(t, h, c)
	proxy := NewProxy(t, h.Address)
	victim := newHarness(t, h.Suite, proxy.Address())
	h.checkError(t, victim.driver.Ready(t.Context())) // connects, so that the verb's own calls are counted
	proxy.Arm(n, when)
	err := victim.call(t, func(ctx context.Context) error { return s.verb(ctx, victim, c) })
	notBlamed(t, "a lost server", err)
	if !proxy.WasCut() && err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	h.converge(t, s, c, undo)
	return proxy.WasCut()
}

// converge continues after an interrupted verb like the engine: a new process repeats the
// verb, or undoes it.
func (h *harness) converge(t *testing.T, s step, c *crash, undo bool) {
	t.Helper()
	next := h.restarted(t)
	if undo {
		if err := s.undo(t, next, c); err != nil {
			t.Fatalf("undo: %v", err)
		}
		s.undone(t, next, c)
		return
	}
	succeeds(t, "again", next.call(t, func(ctx context.Context) error { return s.verb(ctx, next, c) }))
	s.holds(t, next, c)
}

// testCancelled cancels each verb's context at several moments, and converges.
func testCancelled(t *testing.T, h *harness) {
	const moments = 3
	for _, s := range h.steps() {
		t.Run(s.name, func(t *testing.T) {
			takes := h.duration(t, s)
			for i := range moments {
				t.Run(fmt.Sprintf("after %d of %d", i, moments), func(t *testing.T) {
					h.cancelled(t, s, takes*time.Duration(i)/moments, i%2 == 1 && s.undo != nil)
				})
			}
		})
	}
}

func (h *harness) duration(t *testing.T, s step) time.Duration {
	c := &crash{}
	s.before(t, h, c)
	start := time.Now()
	h.must(t, s.name, func(ctx context.Context) error { return s.verb(ctx, h, c) })
	return time.Since(start)
}

func (h *harness) cancelled(t *testing.T, s step, after time.Duration, undo bool) {
	c := &crash{}
	s.before(t, h, c)
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	err := s.verb(ctx, h, c)
	h.checkError(t, err)
	notBlamed(t, "a cancelled call", err)
	if late := time.Now(); ctx.Err() != nil {
		if deadline, _ := ctx.Deadline(); late.Sub(deadline) > callTimeout {
			t.Errorf("returned %s after its context ended", late.Sub(deadline))
		}
	}
	h.converge(t, s, c, undo)
}
