package servicetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// testTwoBindings uses two bindings at the same time and revokes one.
func testTwoBindings(t *testing.T, h *harness) {
	r := h.provisioned(t)
	one, first := h.bound(t, r, h.Bind[0])
	two, second := h.bound(t, r, h.Bind[0])
	h.expectListed(t, r, one, two)
	s1, s2 := h.dialled(t, first), h.dialled(t, second)
	h.writes(t, s1, "from the first", "1")
	h.reads(t, s2, "from the first", "1")
	h.writes(t, s2, "from the second", "2")
	h.reads(t, s1, "from the second", "2")

	succeeds(t, "unbind", h.unbind(t, r, one))
	h.expectEnded(t, s1)
	h.refused(t, first)
	h.lives(t, s2, "another binding was unbound")
	h.reads(t, s2, "from the first", "1")
	h.writes(t, s2, "from the first", "changed")
	_, third := h.bound(t, r, h.Bind[0])
	h.reads(t, h.dialled(t, third), "from the first", "changed")
	h.expectListed(t, r, two, r.bindings[2])
}

// testReadOnly checks that a read-only binding reads what the others write, before and
// after its creation, and cannot write.
func testReadOnly(t *testing.T, h *harness) {
	if h.ReadOnly == nil {
		t.Skip("the backend has no read-only bindings")
	}
	r := h.provisioned(t)
	_, writer := h.bound(t, r, h.Bind[0])
	w := h.dialled(t, writer)
	h.writes(t, w, "before", "1")
	reading, reader := h.bound(t, r, h.ReadOnly)
	s := h.dialled(t, reader)
	h.reads(t, s, "before", "1")
	h.writes(t, w, "after", "2")
	h.reads(t, s, "after", "2")
	for _, key := range []string{"before", "new"} {
		if err := s.Write(t.Context(), key, "overwritten"); err == nil {
			t.Errorf("a read-only binding wrote %q", key)
		}
	}
	h.reads(t, h.dialled(t, writer), "before", "1")
	succeeds(t, "unbind", h.unbind(t, r, reading))
	h.refused(t, reader)
}

// side is the number of concurrent binds.
const side = 8

// testConcurrentBindings binds and unbinds concurrently, unless the backend requires one
// at a time.
func testConcurrentBindings(t *testing.T, h *harness) {
	r := h.provisioned(t)
	bindings := make([]services.RawBinding, side)
	for i := range bindings {
		bindings[i] = r.binding(t, freshID(t), h.paramsOf(i))
	}
	credentials := make([]services.Credentials, side)
	h.sideBySide(t, "bind", func(i int) (err error) {
		credentials[i], err = h.bind(t, r, bindings[i])
		return err
	})
	h.expectListed(t, r, bindings...)
	for i := range bindings {
		h.lives(t, h.dialled(t, credentials[i]), "concurrent binds")
	}
	// One half is unbound while the other half is bound again.
	h.sideBySide(t, "unbind and bind again", func(i int) error {
		if i%2 == 0 {
			return h.unbind(t, r, bindings[i])
		}
		_, err := h.bind(t, r, bindings[i])
		return err
	})
	for i := range bindings {
		if i%2 == 0 {
			h.refused(t, credentials[i])
		} else {
			h.lives(t, h.dialled(t, credentials[i]), "concurrent unbinds and binds")
		}
	}
}

// paramsOf returns the parameters of the i-th binding, so that all kinds occur.
func (h *harness) paramsOf(i int) json.RawMessage {
	kinds := slices.Concat(h.Bind, h.readOnly())
	return kinds[i%len(kinds)]
}

func (h *harness) sideBySide(t *testing.T, what string, work func(i int) error) {
	t.Helper()
	errs := make([]error, side)
	var wait sync.WaitGroup
	for i := range side {
		if h.driver.Functions.SerialBinds {
			errs[i] = work(i)
			continue
		}
		wait.Go(func() { errs[i] = work(i) })
	}
	wait.Wait()
	succeeds(t, fmt.Sprintf("%s, %d at once", what, side), errors.Join(errs...))
}

// testIsolation runs Reach with one tenant's credentials, and checks that the other
// tenant's instance is not affected.
func testIsolation(t *testing.T, h *harness) {
	mine, theirs := h.provisioned(t), h.provisioned(t)
	_, my := h.bound(t, mine, h.Bind[0])
	_, their := h.bound(t, theirs, h.Bind[0])
	session := h.dialled(t, their)
	h.writes(t, session, "secret", "theirs")
	if _, err := h.dialled(t, my).Read(t.Context(), "secret"); err == nil {
		t.Error("one instance's application read another's data")
	}
	h.Reach(t, delivered(t, my.Values), delivered(t, their.Values))
	h.lives(t, session, "another tenant used its own credentials")
	h.reads(t, session, "secret", "theirs")
}

func testLimits(t *testing.T, h *harness) {
	for _, limit := range h.Limits {
		t.Run(limit.Name, func(t *testing.T) {
			r := h.instance(t, freshID(t), limit.Plan, h.Create[0])
			succeeds(t, "provision", h.provision(t, r))
			limit.Holds(t, Use{
				Bind: func(t *testing.T, params json.RawMessage) map[string]any {
					t.Helper()
					_, c := h.bound(t, r, params)
					return delivered(t, c.Values)
				},
				Reconcile: func(t *testing.T) string {
					t.Helper()
					return h.reconcile(t, limit.Plan, r)[r.raw.ID].Message
				},
			})
			succeeds(t, "deprovision", h.deprovision(t, r))
			h.nothingLeft(t, r)
		})
	}
}

// name returns a subtest's name for a value.
func name(i int, of string) string { return fmt.Sprintf("%02d %.20q", i, of) }
