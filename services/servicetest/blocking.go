package servicetest

import (
	"encoding/json"
	"testing"
	"time"

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
	kinds := append([]json.RawMessage{h.Bind[0]}, h.readOnly()...)
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
	if h.alive(t, session) == nil {
		t.Error("the live session outlived its binding")
	}
	h.expectListed(t, theirs)
	again := h.mustBind(t, theirs, bindings[0])
	h.works(t, again)
	succeeds(t, "deprovision", h.deprovision(t, theirs))
	h.refused(t, again)
	h.nothingLeft(t, theirs)
	succeeds(t, "deprovision the first tenant's instance", h.deprovision(t, mine))
	h.nothingLeft(t, mine)
	h.noLeftovers(t)
}

// noLeftovers fails t if List has leftovers that Reconcile does not remove.
func (h *harness) noLeftovers(t *testing.T) {
	t.Helper()
	var left []string
	for end := time.Now().Add(2 * callTimeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if h.driver.Functions.Reconcile != nil {
			h.reconcile(t, h.Plan)
		}
		found, err := h.driver.Functions.List.OrZero(t.Context(), services.None{})
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		left = nil
		for _, f := range found {
			if f.Leftover {
				left = append(left, f.Name)
			}
		}
		if left == nil {
			return
		}
	}
	t.Errorf("never removed: %v", left)
}
