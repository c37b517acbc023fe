package servicetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

// testLifecycle calls each verb once and then again, for all parameters.
func testLifecycle(t *testing.T, h *harness) {
	for i, create := range h.Create {
		for j, params := range h.Bind {
			t.Run(fmt.Sprintf("create %d bind %d", i, j), func(t *testing.T) { h.testOnceAndAgain(t, create, params) })
		}
	}
}

func (h *harness) testOnceAndAgain(t *testing.T, create, params json.RawMessage) {
	r := h.instance(t, freshID(t), h.Plan, create)
	h.twice(t, "provision", func() error { return h.provision(t, r) })
	h.expectListed(t, r)
	b := r.binding(t, freshID(t), params)
	first := h.mustBind(t, r, b)
	session := h.dialled(t, first)
	again := h.restarted(t).mustBind(t, r, b)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the repeated bind returned other credentials (-first +again):\n%s", diff)
	}
	h.lives(t, session, "a repeated bind")
	if got := first.Values["type"]; got != h.Definition.CredentialType {
		t.Errorf("type: %v, want %q", got, h.Definition.CredentialType)
	}
	h.expectListed(t, r, b)
	h.twice(t, "provision of what is in use", func() error { return h.provision(t, r) })
	h.lives(t, session, "a repeated provision")
	h.twice(t, "unbind", func() error { return h.unbind(t, r, b) })
	h.refused(t, first)
	h.expectListed(t, r)
	h.bound(t, r, params) // stays: deprovision has to remove it
	h.twice(t, "deprovision", func() error { return h.deprovision(t, r) })
	h.nothingLeft(t, r)
}

func (h *harness) twice(t *testing.T, what string, verb func() error) {
	t.Helper()
	succeeds(t, what, verb())
	succeeds(t, what+" again", verb())
}

// testUpdate changes to the other plan and to all update parameters, each twice, and back,
// like the engine when it undoes an update.
func testUpdate(t *testing.T, h *harness) {
	if h.OtherPlan == nil && len(h.Update) == 0 {
		t.Skip("the backend has nothing to update")
	}
	r := h.provisioned(t)
	_, credentials := h.bound(t, r, h.Bind[0])
	session := h.dialled(t, credentials)
	h.writes(t, session, "kept", "before")
	for i, next := range h.updates(r) {
		t.Run(fmt.Sprintf("update %d", i), func(t *testing.T) {
			succeeds(t, "check", h.driver.CheckUpdate(r.raw, next))
			h.twice(t, "update", func() error { return h.update(t, r.raw, next) })
			h.reads(t, h.dialled(t, credentials), "kept", "before")
			h.twice(t, "undo", func() error { return h.update(t, next, r.raw) })
			h.reads(t, h.dialled(t, credentials), "kept", "before")
			h.works(t, credentials)
		})
	}
}

// updates returns all updates that the suite defines.
func (h *harness) updates(r *resource) []services.RawInstance {
	var all []services.RawInstance
	if h.OtherPlan != nil {
		all = append(all, h.driver.Instance(r.raw.ID, h.OtherPlan, r.raw.Params))
	}
	for _, params := range h.Update {
		all = append(all, h.driver.Instance(r.raw.ID, h.Plan, params))
	}
	return all
}

func (h *harness) update(t *testing.T, prev, next services.RawInstance) error {
	t.Helper()
	return h.call(t, func(ctx context.Context) error { return h.driver.Update(ctx, prev, next) })
}

// testAbsent deletes instances and bindings that never existed, or exist only partly.
func testAbsent(t *testing.T, h *harness) {
	r := h.instance(t, freshID(t), h.Plan, h.Create[0])
	b := r.binding(t, freshID(t), h.Bind[0])
	h.twice(t, "unbind from an absent instance", func() error { return h.unbind(t, r, b) })
	h.twice(t, "deprovision what is absent", func() error { return h.deprovision(t, r) })
	if _, err := h.bind(t, r, b); err == nil {
		t.Error("bind to an absent instance succeeded")
	}
	h.twice(t, "unbind what could not be bound", func() error { return h.unbind(t, r, b) })
	succeeds(t, "provision", h.provision(t, r))
	h.twice(t, "unbind an absent binding", func() error { return h.unbind(t, r, b) })
	first := h.mustBind(t, r, b)
	succeeds(t, "deprovision", h.deprovision(t, r))
	h.twice(t, "unbind after deprovision", func() error { return h.unbind(t, r, b) })
	h.refused(t, first)
	// The same IDs may be used again, and find no old data.
	succeeds(t, "provision again", h.provision(t, r))
	second := h.mustBind(t, r, b)
	h.works(t, second)
	succeeds(t, "deprovision again", h.deprovision(t, r))
	h.nothingLeft(t, r)
}

// testReconcile reconciles an instance, and one that has been deleted.
func testReconcile(t *testing.T, h *harness) {
	if h.driver.Functions.Reconcile == nil {
		t.Skip("the backend does not implement Reconciler")
	}
	r := h.provisioned(t)
	gone := h.instance(t, freshID(t), h.Plan, h.Create[0])
	_, credentials := h.bound(t, r, h.Bind[0])
	session := h.dialled(t, credentials)
	for range 3 {
		if conditions := h.reconcile(t, h.Plan, r, gone); len(conditions) > 0 {
			t.Errorf("conditions of an instance within its limits: %v", conditions)
		}
	}
	h.lives(t, session, "Reconcile")
	h.works(t, credentials)
	succeeds(t, "deprovision", h.deprovision(t, r))
	h.reconcile(t, h.Plan, r)
	h.nothingLeft(t, r)
}

func (h *harness) reconcile(t *testing.T, plan json.RawMessage, rs ...*resource) map[string]services.Condition {
	t.Helper()
	var raws []services.RawInstance
	for _, r := range rs {
		raws = append(raws, r.raw)
	}
	var found map[string]services.Condition
	h.must(t, "reconcile", func(ctx context.Context) (err error) {
		found, err = h.driver.Reconcile(ctx, []services.Plan{h.driver.Plan(plan)}, raws)
		return err
	})
	return found
}

// testCapacity checks the numbers for placement: none is negative, and the free capacity is
// not larger than the total.
func testCapacity(t *testing.T, h *harness) {
	c, err := h.driver.Functions.Capacity.OrZero(t.Context(), services.None{})
	succeeds(t, "Capacity", err)
	takes, err := h.driver.Functions.Footprint.OrZero(t.Context(), h.driver.Plan(h.Plan))
	succeeds(t, "Footprint", err)
	for _, unit := range []struct {
		name               string
		free, total, takes services.Size
	}{
		{"storage", c.Free.Storage, c.Total.Storage, takes.Storage},
		{"memory", c.Free.Memory, c.Total.Memory, takes.Memory},
	} {
		if unit.free < 0 || unit.free > unit.total {
			t.Errorf("%s: %d of %d bytes are free", unit.name, unit.free, unit.total)
		}
		if unit.takes < 0 {
			t.Errorf("%s: an instance takes %d bytes", unit.name, unit.takes)
		}
	}
	t.Logf("an instance takes %v; %v of %v are free", takes, c.Free, c.Total)
}
