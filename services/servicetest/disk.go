package servicetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Disk is the disk of a server, which holds nothing else.
type Disk struct {
	// Fill takes the room that there is.
	Fill func(t *testing.T)
	// Clear gives it back and starts the server anew, so that it has what it
	// wrote to the disk and no more.
	Clear func(t *testing.T)
	// Updated fails t where the instance of that name is not of OtherPlan; nil:
	// nobody looks.
	Updated func(t *testing.T, instance string)
	// Tells are the verbs whose error the server makes one of services.OutOfCapacity
	// as soon as the disk is full: "provision", "bind", "update", "unbind",
	// "deprovision". What the others say depends on the room that the ones
	// before left, and on whether the server is still there.
	Tells []string
}

// verb is a call of one on a server in trouble.
type verb struct {
	name string
	call func(context.Context) error
	// givenUp says that it is not repeated once there is room, but undone; done
	// that it has worked.
	givenUp, done bool
}

// RunFullDisk shows what verbs do on a server whose disk is full: they work, or
// fail with an error that the engine retries; once there is room, the repeated
// ones work, and neither what was done nor what was given up leaves anything
// behind. Of the suite it needs what is not about limits and refusals.
func RunFullDisk(t *testing.T, s Suite, d Disk) {
	t.Helper()
	h := newHarness(t, s, s.Address)
	r, going := h.provisioned(t), h.provisioned(t)
	_, kept := h.bound(t, r, s.Bind[0])
	ending, ended := h.bound(t, r, s.Bind[0])
	h.bound(t, going, s.Bind[0])
	made, givenUp := h.instance(t, freshID(t), s.Plan, s.Create[0]), h.instance(t, freshID(t), s.Plan, s.Create[0])
	late, next := r.binding(t, freshID(t), s.Bind[0]), r.raw
	next.Plan = h.driver.Plan(s.OtherPlan)
	var credentials services.Credentials
	verbs := []*verb{
		{name: "provision", call: func(ctx context.Context) error { return h.driver.Provision(ctx, made.raw) }},
		{name: "provision", givenUp: true, call: func(ctx context.Context) error { return h.driver.Provision(ctx, givenUp.raw) }},
		{name: "bind", call: func(ctx context.Context) (err error) {
			credentials, err = h.driver.Bind(ctx, r.raw, late)
			return err
		}},
		{name: "update", call: func(ctx context.Context) error { return h.driver.Update(ctx, r.raw, next) }},
		{name: "unbind", call: func(ctx context.Context) error {
			return h.driver.Unbind(ctx, r.raw, services.RawBinding{ID: ending.ID, Params: ending.Params})
		}},
		{name: "deprovision", call: func(ctx context.Context) error { return h.driver.Deprovision(ctx, going.raw) }},
	}
	d.Fill(t)
	for round := range 2 {
		for _, v := range verbs {
			h.onFullDisk(t, v, late, round == 0 && slices.Contains(d.Tells, v.name))
		}
	}
	d.Clear(t)
	for _, v := range verbs {
		if !v.done && !v.givenUp {
			h.insist(t, v)
		}
	}
	if d.Updated != nil {
		d.Updated(t, services.InstanceName(r.raw.ID))
	}
	h.works(t, kept)
	h.works(t, credentials)
	h.refused(t, ended)
	h.nothingLeft(t, going)
	h.empty(t, made, givenUp, r)
}

// onFullDisk calls a verb, unless it has worked already, as the engine does.
func (h *harness) onFullDisk(t *testing.T, v *verb, bd services.RawBinding, tells bool) {
	t.Helper()
	if v.done {
		return
	}
	err := h.callOnce(t, t.Context(), v.call)
	v.done = err == nil
	t.Logf("%s on a full disk: %v", v.name, err)
	if err == nil {
		if tells {
			t.Errorf("%s did not notice the full disk", v.name)
		}
		return
	}
	if message, rejected := services.IsRejected(err); rejected {
		t.Errorf("%s: shown to the user as his fault: %s", v.name, message)
	}
	if tells && !services.IsOutOfCapacity(err) {
		t.Errorf("%s does not say that there is no room: %v", v.name, err)
	}
	if bd.Seed.Scrub(err.Error()) != err.Error() {
		t.Errorf("an error holds a secret of the binding: %s", bd.Seed.Scrub(err.Error()))
	}
}

// insist repeats a verb after any error, as the engine does: a server that has
// just got room, or was just started, may need a moment.
func (h *harness) insist(t *testing.T, v *verb) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := h.call(t, v.call)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, with room: %v", v.name, err)
		}
	}
}

// empty removes instances, of which nothing is left then.
func (h *harness) empty(t *testing.T, rs ...*resource) {
	t.Helper()
	for _, r := range rs {
		if err := h.deprovision(t, r); err != nil {
			t.Errorf("deprovision, with room: %v", err)
		}
		h.nothingLeft(t, r)
	}
}
