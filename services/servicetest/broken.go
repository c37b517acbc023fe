package servicetest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

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
	if err := h.alive(t, session); err != nil {
		t.Errorf("verifying credentials that work cut a session: %v", err)
	}
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
	ctx := soon(t)
	if err := broken(ctx, delivered(t, c.Values)); err != nil {
		t.Fatalf("break the credentials: %v", err)
	}
	if h.usable(t, ctx, c) == nil {
		t.Fatal("the credentials still work: Break breaks nothing")
	}
}

// usable reports whether an application can connect and write.
func (h *harness) usable(t *testing.T, ctx context.Context, c services.Credentials) error {
	t.Helper()
	session, err := h.dial(t, c)
	if err != nil {
		return err
	}
	return errors.Join(session.Write(ctx, "key", "value"), session.Close())
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
