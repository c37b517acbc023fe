package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
)

// reader is whom binding b is delivered to.
var reader = credhub.Reader{InstanceID: "i", BindingID: "b", AppID: "app"}

// bound makes binding b, for an application.
func bound(t *testing.T, h *brokertest.Harness, instance, plan string) {
	t.Helper()
	made, err := h.Bind(brokertest.CallerContext(), instance, "b", domain.BindDetails{ServiceID: brokertest.Service, PlanID: plan, AppGUID: reader.AppID}, true)
	done(t, h, begun(t, h, instance, "b", made.OperationData, err))
}

// arrive is what a replica had sent of binding b when it was killed.
func arrive(t *testing.T, h *brokertest.Harness) {
	t.Helper()
	value := json.RawMessage(`{"password": "late"}`)
	for _, path := range []credhub.Path{credhub.SeedPath("i", "b"), credhub.CredentialsPath("i", "b"), credhub.VolumeMountsPath("i", "b")} {
		if err := h.Memory.Put(t.Context(), path, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Delivered.Put(t.Context(), brokertest.DeliveredPath(reader), value); err != nil {
		t.Fatal(err)
	}
}

// rounds waits until a round of upkeep that began after the call has ended: the
// next one has begun then.
func rounds(t *testing.T, h *brokertest.Harness) {
	t.Helper()
	for range 2 {
		_, err := h.Store.Pool.Exec(t.Context(), `insert into forgotten (instance_id, binding_id, app_id, bind_resource, context, delivery, at)
			values ('another', 'another', '', '{}', '{}', 'inline', now() - interval '1 hour')`)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "a round", func() bool {
			return query[int](t, h, "select count(*) from forgotten where binding_id = 'another'") == 0
		})
	}
}

// later lets the time go by after which secrets are deleted once more.
func later(t *testing.T, h *brokertest.Harness) {
	t.Helper()
	for _, past := range []string{"update bindings set created_at = created_at - interval '5 minutes'", "update forgotten set at = at - interval '5 minutes'"} {
		if _, err := h.Store.Pool.Exec(context.Background(), past); err != nil {
			t.Fatal(err)
		}
	}
}

func forgotten(t *testing.T, h *brokertest.Harness) int {
	t.Helper()
	return query[int](t, h, "select count(*) from forgotten")
}

// However a binding ends, what arrives in the credential store after that is
// deleted, and not before a write may take.
func TestLateWritesAreDeleted(t *testing.T) {
	byUnbind := func(t *testing.T, h *brokertest.Harness) { done(t, h, unbind(t, h, "i", "b")) }
	byDeprovision := func(t *testing.T, h *brokertest.Harness) { done(t, h, deprovision(t, h, "i")) }
	for name, c := range map[string]struct {
		plan string
		end  func(t *testing.T, h *brokertest.Harness)
	}{
		"unbind":                       {brokertest.Small, byUnbind},
		"unbind of what was delivered": {brokertest.Delivered, byUnbind},
		"deprovision":                  {brokertest.Cascading, byDeprovision},
		"retire":                       {brokertest.Retaining, byDeprovision},
		"expiry": {brokertest.Expiring, func(t *testing.T, h *brokertest.Harness) {
			if _, err := h.Store.Pool.Exec(t.Context(), "update bindings set expires_at = now()"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the binding has expired", func() bool { return query[store.Status](t, h, "select status from bindings") == store.Expired })
		}},
		"a bind that failed": {brokertest.Short, func(t *testing.T, h *brokertest.Harness) {
			byUnbind(t, h)
			failedBind(t, h, "bind")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := soon(t)
			done(t, h, provision(t, h, "i", c.plan, ""))
			bound(t, h, "i", c.plan)
			c.end(t, h)
			if left := append(h.Memory.Paths(), h.Delivered.Paths()...); len(left) > 0 {
				t.Fatalf("left: %v", left)
			}
			arrive(t, h)
			rounds(t, h)
			if h.Memory.Len() != 3 || forgotten(t, h) != 1 {
				t.Errorf("too soon: %v", h.Memory.Paths())
			}
			later(t, h)
			eventually(t, "the broker has forgotten the binding", func() bool { return forgotten(t, h) == 0 })
			left := h.Memory.Paths()
			if c.plan == brokertest.Delivered { // elsewhere nothing is looked for
				left = append(left, h.Delivered.Paths()...)
			}
			if len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// failedBind begins binding b, of which the backend refuses the verbs that fail.
func failedBind(t *testing.T, h *brokertest.Harness, fail ...string) {
	t.Helper()
	h.Backend.BeforeCall(func(_ context.Context, verb, _ string) error {
		if slices.Contains(fail, verb) {
			return errors.New("away")
		}
		return nil
	})
	if op := h.AwaitOperation(t, bind(t, h, "i", "b", brokertest.Short)); op.State != store.Failed {
		t.Fatalf("the bind %s", op.State)
	}
	h.Backend.BeforeCall(nil)
}

// The secrets of a bind that failed stay for as long as its clean-up has not
// worked, and those of a repeated bind that did work stay.
func TestSecretsOfAFailedBindThatAreNeeded(t *testing.T) {
	for name, c := range map[string]struct {
		after func(t *testing.T, h *brokertest.Harness)
		want  []credhub.Path
	}{
		"not cleaned up": {
			func(t *testing.T, h *brokertest.Harness) { failedBind(t, h, "bind", "unbind") },
			[]credhub.Path{credhub.SeedPath("i", "b")},
		},
		"repeated": {
			func(t *testing.T, h *brokertest.Harness) { bound(t, h, "i", brokertest.Short) },
			[]credhub.Path{credhub.CredentialsPath("i", "b"), credhub.SeedPath("i", "b")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := soon(t)
			done(t, h, provision(t, h, "i", brokertest.Short, ""))
			failedBind(t, h, "bind")
			if n := forgotten(t, h); n != 1 {
				t.Errorf("%d are to be forgotten", n)
			}
			c.after(t, h)
			later(t, h)
			eventually(t, "the broker has forgotten the failed bind", func() bool { return forgotten(t, h) == 0 })
			var want []string
			for _, path := range c.want {
				want = append(want, path.String())
			}
			if diff := cmp.Diff(want, h.Memory.Paths()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A binding that has the ID of one that is gone keeps its secrets; that of another
// instance has others, but may be delivered to the same place.
func TestLateWritesOfAnIDThatIsUsedAgain(t *testing.T) {
	for _, instance := range []string{"i", "j"} {
		t.Run("in "+instance, func(t *testing.T) {
			h := soon(t)
			for _, id := range []string{"i", "j"} {
				done(t, h, provision(t, h, id, brokertest.Delivered, ""))
			}
			bound(t, h, "i", brokertest.Delivered)
			done(t, h, unbind(t, h, "i", "b"))
			if instance != "i" {
				arrive(t, h)
			}
			bound(t, h, instance, brokertest.Delivered)
			delivered := func() string {
				value, err := h.Delivered.Get(t.Context(), brokertest.DeliveredPath(reader))
				if err != nil {
					t.Fatal(err)
				}
				return string(value)
			}
			want := delivered()
			later(t, h)
			eventually(t, "the broker has forgotten the binding that is gone", func() bool { return forgotten(t, h) == 0 })
			if diff := cmp.Diff(want, delivered()); diff != "" {
				t.Error(diff)
			}
			paths := []string{credhub.CredentialsPath(instance, "b").String(), credhub.SeedPath(instance, "b").String()}
			if diff := cmp.Diff(paths, h.Memory.Paths()); diff != "" {
				t.Error(diff)
			}
			done(t, h, unbind(t, h, instance, "b"))
			if h.Memory.Len() != 0 || h.Delivered.Len() != 0 || forgotten(t, h) != 1 {
				t.Errorf("after its end: %v, %v, %d", h.Memory.Paths(), h.Delivered.Paths(), forgotten(t, h))
			}
		})
	}
}

// What the credential store refuses is tried again, also where it was done.
func TestLateWritesWhileTheStoreIsAway(t *testing.T) {
	type hook = func(verb string, path credhub.Path) error
	for name, hooks := range map[string]func(*credtest.Memory, hook){
		"before the deletion": func(c *credtest.Memory, h hook) { c.Hooks(h, nil) },
		"after the deletion":  func(c *credtest.Memory, h hook) { c.Hooks(nil, h) },
	} {
		t.Run(name, func(t *testing.T) {
			h := soon(t)
			done(t, h, provision(t, h, "i", brokertest.Small, ""))
			for _, id := range []string{"a", "b"} {
				done(t, h, bind(t, h, "i", id, brokertest.Small))
				done(t, h, unbind(t, h, "i", id))
			}
			arrive(t, h)
			var calls atomic.Int32
			hooks(h.Memory, func(verb string, path credhub.Path) error {
				if verb != "delete" {
					return nil
				}
				if path == credhub.SeedPath("i", "b") {
					calls.Add(1)
				}
				return errors.New("away")
			})
			later(t, h)
			eventually(t, "it was tried in three rounds", func() bool { return calls.Load() >= 3 })
			if n := forgotten(t, h); n != 2 {
				t.Errorf("%d are to be forgotten", n)
			}
			h.Memory.Hooks(nil, nil)
			eventually(t, "the broker has forgotten the bindings", func() bool { return forgotten(t, h) == 0 })
			if h.Memory.Len() > 0 {
				t.Errorf("left: %v", h.Memory.Paths())
			}
		})
	}
}

// While somebody works on a binding of that ID its secrets are let alone.
func TestLateWritesWhileTheIDIsWorkedOn(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	done(t, h, bind(t, h, "i", "b", brokertest.Small))
	done(t, h, unbind(t, h, "i", "b"))
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, verb, id string) error {
		if verb == "bind" {
			return gate.Pass(ctx)
		}
		return nil
	})
	binding := bind(t, h, "i", "b", brokertest.Small)
	gate.AwaitCall(t)
	later(t, h)
	rounds(t, h)
	if diff := cmp.Diff([]string{credhub.SeedPath("i", "b").String()}, h.Memory.Paths()); diff != "" {
		t.Error(diff)
	}
	gate.Open()
	done(t, h, binding)
	eventually(t, "the broker has forgotten the binding that is gone", func() bool { return forgotten(t, h) == 0 })
	if h.Memory.Len() != 2 {
		t.Errorf("left: %v", h.Memory.Paths())
	}
}

// A credential store that panics fails the attempt, not the process: an unbind
// deletes secrets side by side.
func TestForgetPanics(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	done(t, h, bind(t, h, "i", "b", brokertest.Small))
	h.Memory.Hooks(func(verb string, _ credhub.Path) error {
		if verb == "delete" {
			panic("hunter2")
		}
		return nil
	}, nil)
	id := unbind(t, h, "i", "b")
	eventually(t, "an attempt fails", func() bool { return row(t, h, id).Attempts > 0 })
	if op := row(t, h, id); !strings.Contains(op.LastError, "the credential store panicked") || strings.Contains(op.LastError, "hunter2") {
		t.Errorf("last error %q", op.LastError)
	}
	h.Memory.Hooks(nil, nil)
	done(t, h, id)
}
