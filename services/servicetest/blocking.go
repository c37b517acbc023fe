package servicetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

// testBlocking lets one tenant try to prevent the revocation of another tenant's
// credentials. The credentials must be revoked nevertheless, can be created again with
// the same ID, and the other tenant's instance can be deleted. After the first tenant's
// instance is deleted too, nothing is left.
func testBlocking(t *testing.T, h *harness) {
	if len(h.Block) == 0 {
		t.Skip("the suite's Block is empty")
	}
	for name, block := range h.Block {
		t.Run(name, func(t *testing.T) { h.testBlocked(t, block) })
	}
}

func (h *harness) testBlocked(t *testing.T, block func(t *testing.T, mine map[string]any, theirs ...map[string]any)) {
	mine, theirs := h.provisioned(t), h.provisioned(t)
	_, my := h.bound(t, mine, h.Bind[0])
	kinds := slices.Concat(h.Bind[:1], h.readOnly())
	bindings := make([]services.RawBinding, len(kinds))
	credentials, their := make([]services.Credentials, len(kinds)), make([]map[string]any, len(kinds))
	for i, params := range kinds {
		bindings[i], credentials[i] = h.bound(t, theirs, params)
		their[i] = delivered(t, credentials[i].Values)
	}
	session := h.dialled(t, credentials[0])
	block(t, delivered(t, my.Values), their...)
	for i, b := range bindings {
		succeeds(t, "unbind", h.unbind(t, theirs, b))
		h.refused(t, credentials[i])
	}
	h.expectEnded(t, session)
	h.expectListed(t, theirs)
	again := h.mustBind(t, theirs, bindings[0])
	h.works(t, again)
	succeeds(t, "deprovision", h.deprovision(t, theirs))
	h.refused(t, again)
	h.nothingLeft(t, theirs)
	succeeds(t, "deprovision the first tenant's instance", h.deprovision(t, mine))
	h.nothingLeft(t, mine)
	h.noLeftovers(t, mine, theirs)
}

// noLeftovers fails t if List has leftovers that Reconcile does not remove. Where tests run side by
// side, only those of the test's own instances count.
func (h *harness) noLeftovers(t *testing.T, own ...*resource) {
	t.Helper()
	var left []string
	for end := time.Now().Add(2 * callTimeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if h.driver.Functions.Reconcile != nil {
			h.reconcile(t, h.Plan)
		}
		found, err := h.driver.Functions.List.OrZero(t.Context(), services.None{})
		succeeds(t, "list", err)
		left = nil
		for _, f := range found {
			others := h.Slow && !slices.ContainsFunc(own, func(r *resource) bool { return f.Instance == services.InstanceName(r.raw.ID) })
			if f.Leftover && !others {
				left = append(left, f.Name)
			}
		}
		if left == nil {
			return
		}
	}
	t.Errorf("never removed: %v", left)
}

// testBroken breaks a binding's credentials as its own application can. Verify and a
// repeated bind must repair them, and must not change credentials that work.
func testBroken(t *testing.T, h *harness) {
	if len(h.Break) == 0 {
		t.Skip("the suite's Break is empty")
	}
	if h.driver.Functions.Verify == nil {
		t.Fatal("the backend does not implement Verifier")
	}
	for name, broken := range h.Break {
		t.Run(name, func(t *testing.T) { h.testRepair(t, broken) })
	}
	t.Run("a binding that does not exist", h.testVerifyAbsent)
}

func (h *harness) testRepair(t *testing.T, broken func(context.Context, map[string]any) error) {
	r := h.provisioned(t)
	b, credentials := h.bound(t, r, h.Bind[0])
	other, _ := h.bound(t, r, h.Bind[0])
	session := h.dialled(t, credentials)
	h.must(t, "verify what works", func(ctx context.Context) error { return h.driver.Verify(ctx, r.raw, b) })
	h.lives(t, session, "verify of credentials that work")
	h.breaks(t, broken, credentials)
	h.must(t, "verify another binding", func(ctx context.Context) error { return h.driver.Verify(ctx, r.raw, other) })
	h.must(t, "verify", func(ctx context.Context) error { return h.driver.Verify(ctx, r.raw, b) })
	h.works(t, credentials)

	h.breaks(t, broken, credentials)
	again := h.restarted(t).mustBind(t, r, b)
	if diff := cmp.Diff(credentials, again); diff != "" {
		t.Errorf("the repeated bind returned other credentials (-first +again):\n%s", diff)
	}
	h.works(t, credentials)

	h.breaks(t, broken, credentials)
	succeeds(t, "unbind", h.unbind(t, r, b))
	h.refused(t, credentials)
	h.expectListed(t, r, other)
}

// breaks lets the application break its credentials, and fails t if they still work.
func (h *harness) breaks(t *testing.T, broken func(context.Context, map[string]any) error, c services.Credentials) {
	t.Helper()
	succeeds(t, "break the credentials", broken(soon(t), delivered(t, c.Values)))
	session, err := h.dial(t, c)
	if err != nil {
		return
	}
	if errors.Join(session.Write(soon(t), "key", "value"), session.Close()) == nil {
		t.Fatal("the credentials still work: Break breaks nothing")
	}
}

// testVerifyAbsent verifies bindings that never existed or were deleted; Verify must not
// create them.
func (h *harness) testVerifyAbsent(t *testing.T) {
	r := h.provisioned(t)
	_ = h.call(t, func(ctx context.Context) error {
		return h.driver.Verify(ctx, r.raw, r.binding(t, freshID(t), h.Bind[0]))
	})
	h.expectListed(t, r)
	b, credentials := h.bound(t, r, h.Bind[0])
	succeeds(t, "unbind", h.unbind(t, r, b))
	_ = h.call(t, func(ctx context.Context) error { return h.driver.Verify(ctx, r.raw, b) })
	h.refused(t, credentials)
	h.expectListed(t, r)
}
