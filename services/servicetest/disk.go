package servicetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Disk is a disk that only holds a server's data.
type Disk struct {
	// Fill fills the disk.
	Fill func(t *testing.T)
	// Clear frees the space and restarts the server, so that it has only what it wrote to
	// the disk.
	Clear func(t *testing.T)
	// Updated fails t unless the instance of that name has OtherPlan; nil: not checked.
	Updated func(t *testing.T, instance string)
	// Tells lists the verbs that must return services.OutOfCapacity as soon as the disk is
	// full: "provision", "bind", "update", "unbind", "deprovision". The errors of the others
	// depend on the space that the previous ones left, and on whether the server still
	// runs.
	Tells []string
}

// verb is a call on a server with a fault.
type verb struct {
	name string
	call func(context.Context) error
	// done says that the verb has succeeded.
	done bool
}

// targets are what verbs are called on.
type targets struct {
	provisioned, used, deprovisioned services.RawInstance
	bound, unbound                   services.RawBinding
}

// verbs are one call of each verb.
func (h *harness) verbs(on targets) []*verb {
	next := on.used
	if h.OtherPlan != nil {
		next.Plan = h.driver.Plan(h.OtherPlan)
	}
	on.unbound.Seed = nil // as the engine calls it
	return []*verb{
		{name: "ready", call: h.driver.Ready},
		{name: "provision", call: func(ctx context.Context) error { return h.driver.Provision(ctx, on.provisioned) }},
		{name: "bind", call: func(ctx context.Context) error { _, err := h.driver.Bind(ctx, on.used, on.bound); return err }},
		{name: "update", call: func(ctx context.Context) error { return h.driver.Update(ctx, on.used, next) }},
		{name: "unbind", call: func(ctx context.Context) error { return h.driver.Unbind(ctx, on.used, on.unbound) }},
		{name: "deprovision", call: func(ctx context.Context) error { return h.driver.Deprovision(ctx, on.deprovisioned) }},
	}
}

// RunFullDisk checks the verbs on a server whose disk is full: they succeed, or fail with
// an error that the engine retries. After space was freed, repeated verbs succeed, and
// neither completed nor abandoned ones leave anything behind. It does not need the
// suite's fields about limits and refusals.
func RunFullDisk(t *testing.T, s Suite, d Disk) {
	t.Helper()
	h := newHarness(t, s, s.Address)
	r, deprovisioned := h.provisioned(t), h.provisioned(t)
	_, credentials := h.bound(t, r, s.Bind[0])
	unbound, revoked := h.bound(t, r, s.Bind[0])
	h.bound(t, deprovisioned, s.Bind[0])
	made, abandoned := h.instance(t, freshID(t), s.Plan, s.Create[0]), h.instance(t, freshID(t), s.Plan, s.Create[0])
	late := r.binding(t, freshID(t), s.Bind[0])
	verbs := h.verbs(targets{made.raw, r.raw, deprovisioned.raw, late, unbound})[1:] // without ready
	undone := h.verbs(targets{provisioned: abandoned.raw})[1]
	var bound services.Credentials // by the very bind that met the full disk
	verbs[slices.IndexFunc(verbs, func(v *verb) bool { return v.name == "bind" })].call = func(ctx context.Context) (err error) {
		bound, err = h.driver.Bind(ctx, r.raw, late)
		return err
	}
	d.Fill(t)
	for round := range 2 {
		for _, v := range slices.Insert(slices.Clone(verbs), 1, undone) {
			h.onFullDisk(t, v, late, round == 0 && slices.Contains(d.Tells, v.name))
		}
	}
	d.Clear(t)
	for _, v := range verbs {
		if !v.done {
			h.insist(t, v)
		}
	}
	if d.Updated != nil {
		d.Updated(t, services.InstanceName(r.raw.ID))
	}
	h.works(t, credentials)
	h.works(t, bound)
	h.refused(t, revoked)
	h.nothingLeft(t, deprovisioned)
	h.empty(t, made, abandoned, r)
}

// onFullDisk calls a verb like the engine, unless it has already succeeded.
func (h *harness) onFullDisk(t *testing.T, v *verb, b services.RawBinding, tells bool) {
	t.Helper()
	if v.done {
		return
	}
	err := h.callOnce(t, t.Context(), v.call)
	v.done = err == nil
	t.Logf("%s on a full disk: %v", v.name, err)
	if tells && !services.IsOutOfCapacity(err) {
		t.Errorf("%s does not return OutOfCapacity: %v", v.name, err)
	}
	notBlamed(t, v.name, err)
	concealed(t, b, err)
}

// insist repeats a verb after any error, like the engine: a server may need a moment after
// space was freed or after its start.
func (h *harness) insist(t *testing.T, v *verb) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := h.call(t, v.call)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s, after space was freed: %v", v.name, err)
		}
	}
}

// empty deletes instances, and checks that nothing is left.
func (h *harness) empty(t *testing.T, rs ...*resource) {
	t.Helper()
	for _, r := range rs {
		succeeds(t, "deprovision after the fault", h.deprovision(t, r))
		h.nothingLeft(t, r)
	}
}
