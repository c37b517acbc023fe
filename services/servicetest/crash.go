package servicetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// step is a verb to interrupt. prepare makes what one attempt needs. Some attempts leave the instance
// as it was, so that a standing one can serve several.
type step struct {
	name     string
	prepare  func(t *testing.T) attempt
	standing bool
}

// attempt is one call of a verb and its check; and, if the verb can be undone, the undoing
// verb and its check. Each runs on the harness that it is given.
type attempt struct {
	verb      func(ctx context.Context, h *harness) error
	check     func(t *testing.T, h *harness)
	undo      func(t *testing.T, h *harness) error
	checkUndo func(t *testing.T, h *harness)
}

// steps returns all verbs with all parameters.
func (h *harness) steps() []step {
	var all []step
	add := func(name string, standing bool, prepare func(t *testing.T) attempt) {
		all = append(all, step{name, prepare, standing})
	}
	for i, params := range h.created() {
		add(fmt.Sprintf("provision %d", i), false, h.provisionStep(params))
	}
	for i, params := range h.Bind {
		add(fmt.Sprintf("bind %d", i), true, h.bindStep(params))
		add(fmt.Sprintf("unbind %d", i), true, h.unbindStep(params))
	}
	for _, params := range h.readOnly() {
		if h.short() {
			break
		}
		add("bind read only", true, h.bindStep(params))
		add("unbind read only", true, h.unbindStep(params))
	}
	for i := range h.updates(&resource{}) {
		add(fmt.Sprintf("update %d", i), true, h.updateStep(i))
	}
	add("deprovision", false, h.deprovisionStep)
	return append(all, h.heldSteps()...)
}

// created are the parameters of new instances to interrupt.
func (h *harness) created() []json.RawMessage {
	if h.Slow {
		return h.Create[:1]
	}
	return h.Create
}

func (h *harness) provisionStep(params json.RawMessage) func(t *testing.T) attempt {
	return func(t *testing.T) attempt {
		r := h.instance(t, freshID(t), h.Plan, params)
		return attempt{
			verb: func(ctx context.Context, h *harness) error { return h.driver.Provision(ctx, r.raw) },
			check: func(t *testing.T, h *harness) {
				h.expectListed(t, r)
				_, credentials := h.bound(t, r, h.Bind[0])
				h.works(t, credentials)
			},
			undo:      func(t *testing.T, h *harness) error { return h.deprovision(t, r) },
			checkUndo: func(t *testing.T, h *harness) { h.nothingLeft(t, r) },
		}
	}
}

// occupiedInstance is an instance with a binding that must still work, whatever happens to
// the instance's other binding.
type occupiedInstance struct {
	*resource
	first       services.RawBinding
	credentials services.Credentials
	// standing says that further attempts follow, to which this one leaves the instance as it was.
	standing bool
}

func (h *harness) occupy(t *testing.T) occupiedInstance {
	t.Helper()
	if h.standing != nil {
		return *h.standing
	}
	o := occupiedInstance{resource: h.provisioned(t)}
	o.first, o.credentials = h.bound(t, o.resource, h.Bind[0])
	h.writes(t, h.dialled(t, o.credentials), "key of the first", "value")
	return o
}

// stand returns a harness with a standing instance, which is deleted at the end of t.
func (h *harness) stand(t *testing.T) *harness {
	t.Helper()
	o := h.occupy(t)
	o.standing = true
	standing := *h
	standing.standing = &o
	return &standing
}

// works fails t unless the binding works, and the instance has only it and these others.
func (o occupiedInstance) works(t *testing.T, h *harness, others ...services.RawBinding) {
	t.Helper()
	h.expectListed(t, o.resource, append(others, o.first)...)
	h.reads(t, h.dialled(t, o.credentials), "key of the first", "value")
	h.works(t, o.credentials)
}

func (h *harness) bindStep(params json.RawMessage) func(t *testing.T) attempt {
	return func(t *testing.T) attempt {
		o := h.occupy(t)
		b := o.binding(t, freshID(t), params)
		var credentials services.Credentials
		return attempt{
			verb: func(ctx context.Context, h *harness) (err error) {
				credentials, err = h.driver.Bind(ctx, o.raw, b)
				return err
			},
			check: func(t *testing.T, h *harness) {
				h.reads(t, h.dialled(t, credentials), "key of the first", "value")
				o.works(t, h, b)
				if o.standing {
					succeeds(t, "unbind", h.unbind(t, o.resource, b))
				}
			},
			undo:      func(t *testing.T, h *harness) error { return h.unbind(t, o.resource, b) },
			checkUndo: func(t *testing.T, h *harness) { o.works(t, h) },
		}
	}
}

func (h *harness) unbindStep(params json.RawMessage) func(t *testing.T) attempt {
	return func(t *testing.T) attempt {
		o := h.occupy(t)
		b, credentials := h.bound(t, o.resource, params)
		session := h.dialled(t, credentials)
		b.Seed = nil // as the engine calls it
		return attempt{
			verb: func(ctx context.Context, h *harness) error { return h.driver.Unbind(ctx, o.raw, b) },
			check: func(t *testing.T, h *harness) {
				h.refused(t, credentials)
				h.expectEnded(t, session)
				o.works(t, h)
			},
		}
	}
}

func (h *harness) updateStep(i int) func(t *testing.T) attempt {
	return func(t *testing.T) attempt {
		o := h.occupy(t)
		next := h.updates(o.resource)[i]
		return attempt{
			verb: func(ctx context.Context, h *harness) error { return h.driver.Update(ctx, o.raw, next) },
			check: func(t *testing.T, h *harness) {
				o.works(t, h)
				if o.standing {
					succeeds(t, "update back", h.update(t, next, o.raw))
				}
			},
			undo:      func(t *testing.T, h *harness) error { return h.update(t, next, o.raw) },
			checkUndo: func(t *testing.T, h *harness) { o.works(t, h) },
		}
	}
}

func (h *harness) deprovisionStep(t *testing.T) attempt {
	o := h.occupy(t)
	h.bound(t, o.resource, h.paramsOf(1))
	session := h.dialled(t, o.credentials)
	return attempt{
		verb: func(ctx context.Context, h *harness) error { return h.driver.Deprovision(ctx, o.raw) },
		check: func(t *testing.T, h *harness) {
			h.nothingLeft(t, o.resource)
			h.refused(t, o.credentials)
			h.expectEnded(t, session)
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
	for i, s := range h.steps() {
		t.Run(s.name, func(t *testing.T) {
			if h.Slow {
				t.Parallel()
			}
			h := h.apart(t)
			if h.short() && s.standing {
				h = h.stand(t)
			}
			h.crash(t, h.steps()[i])
		})
	}
}

// crash interrupts a verb. The short form leaves out the moment before the first call, at which nothing
// has happened.
func (h *harness) crash(t *testing.T, s step) {
	next, calls := 1, 0
	if h.short() {
		next = 2
	}
	for !t.Failed() {
		cut, made := h.cutAt(t, s, next, Before)
		if calls = made; !cut {
			break
		}
		if next++; next > maxCalls {
			t.Fatalf("%d outside calls or more", maxCalls)
		}
	}
	t.Logf("%d outside calls", calls)
	if calls > 0 && !t.Failed() {
		h.cutAt(t, s, calls, After)
	}
}

// cutAt interrupts a verb at its n-th call, and reports whether it made that many, and otherwise how many.
func (h *harness) cutAt(t *testing.T, s step, n int, when Moment) (cut bool, calls int) {
	undoable := false
	for _, undo := range h.continuations(n) {
		t.Run(fmt.Sprintf("cut %s call %d undo %t", when, n, undo), func(t *testing.T) {
			a := s.prepare(t)
			undoable = a.undo != nil
			cut, calls = h.interrupted(t, a, n, when)
			h.converge(t, a, undo && undoable)
		})
		if t.Failed() || !undoable {
			break
		}
	}
	return cut, calls
}

// continuations says how to continue after a cut at the n-th call: with an undo or without. The
// short form takes turns, also between the end of the verb and a cut after its last call.
func (h *harness) continuations(n int) (undo []bool) {
	if h.short() {
		return []bool{n%2 == 0}
	}
	return []bool{false, true}
}

// interrupted interrupts a verb at its n-th call, and reports whether it made that many, and otherwise
// how many.
func (h *harness) interrupted(t *testing.T, a attempt, n int, when Moment) (cut bool, calls int) {
	t.Helper()
	proxy := NewProxy(t, h.Address)
	victim := newHarness(t, h.Suite, proxy.Address())
	h.checkError(t, victim.driver.Ready(t.Context())) // connects, so that the verb's own calls are counted
	proxy.Count(h.Counts)
	proxy.Arm(n, when)
	err := victim.call(t, func(ctx context.Context) error { return a.verb(ctx, victim) })
	notBlamed(t, "a lost server", err)
	if !proxy.Stopped() {
		succeeds(t, "the verb, without a fault", err)
	}
	return proxy.Stopped(), proxy.Calls()
}

// converge continues after an interrupted verb like the engine: a new process repeats the
// verb, or undoes it.
func (h *harness) converge(t *testing.T, a attempt, undo bool) {
	t.Helper()
	next := h.restarted(t)
	if undo {
		succeeds(t, "undo", a.undo(t, next))
		a.checkUndo(t, next)
		return
	}
	next.must(t, "again", func(ctx context.Context) error { return a.verb(ctx, next) })
	a.check(t, next)
}

// shortMoment is when the short form cancels a verb: some calls after its beginning.
const shortMoment = 200 * time.Millisecond

// testCancelled cancels each verb's context at several moments, and converges.
func testCancelled(t *testing.T, h *harness) {
	first, moments := 0, 3
	if h.Slow {
		first, moments = 1, 2
	}
	if h.short() {
		h.cancelOnce(t)
		return
	}
	for i, s := range h.steps() {
		t.Run(s.name, func(t *testing.T) {
			if h.Slow {
				t.Parallel()
			}
			h := h.apart(t)
			s := h.steps()[i]
			a, start := s.prepare(t), time.Now()
			h.must(t, s.name, func(ctx context.Context) error { return a.verb(ctx, h) })
			takes := time.Since(start)
			for i := first; i < moments; i++ {
				t.Run(fmt.Sprintf("after %d of %d", i, moments), func(t *testing.T) {
					a := s.prepare(t)
					h.cancelled(t, a, takes*time.Duration(i)/time.Duration(moments))
					h.converge(t, a, i%2 == 1 && a.undo != nil)
				})
			}
		})
	}
}

// cancelOnce cancels each verb at one moment, and repeats it.
func (h *harness) cancelOnce(t *testing.T) {
	standing := h.stand(t)
	for i, s := range h.steps() {
		t.Run(s.name, func(t *testing.T) {
			h := h
			if s.standing {
				h = standing
			} else {
				t.Parallel()
				h = h.apart(t)
			}
			a := h.steps()[i].prepare(t)
			h.cancelled(t, a, shortMoment)
			h.converge(t, a, false)
		})
	}
}

func (h *harness) cancelled(t *testing.T, a attempt, after time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	err := a.verb(ctx, h)
	h.checkError(t, err)
	notBlamed(t, "a cancelled call", err)
	if deadline, _ := ctx.Deadline(); time.Since(deadline) > callTimeout {
		t.Errorf("returned %s after its context ended", time.Since(deadline))
	}
}
