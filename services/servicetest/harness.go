package servicetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// harness uses the backend like the engine.
type harness struct {
	Suite
	driver *Driver
	// standing is the instance of all attempts to interrupt a verb; nil: each has its own.
	standing *occupiedInstance
}

// callTimeout is the contract's time limit for a call.
const callTimeout = 30 * time.Second

func newHarness(t *testing.T, s Suite, address string) *harness {
	t.Helper()
	driver, err := Open(context.WithoutCancel(t.Context()), s.Definition, s.Config(address))
	succeeds(t, "open", err)
	t.Cleanup(func() { succeeds(t, "close", driver.Close()) })
	return &harness{Suite: s, driver: driver}
}

// restarted returns the backend as after a restart of its process.
func (h *harness) restarted(t *testing.T) *harness { return newHarness(t, h.Suite, h.Address) }

// apart returns the backend with a configuration of t's own, if the suite has Apart.
func (h *harness) apart(t *testing.T) *harness {
	t.Helper()
	if h.Apart == nil {
		return h
	}
	s, own := h.Suite, fmt.Sprint(parts.Add(1))
	s.Config = func(address string) json.RawMessage { return h.Apart(address, own) }
	return newHarness(t, s, s.Address)
}

// call calls a verb until it returns something other than NotYet, like the engine, and
// checks the rules for errors.
func (h *harness) call(t *testing.T, verb func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout) // cleanups call after t's context ended
	defer cancel()
	return ToTheEnd(ctx, func(ctx context.Context) error {
		err := h.callOnce(t, ctx, verb)
		if notYet, ok := errors.AsType[*services.NotYetError](err); ok && (notYet.After <= 0 || notYet.Note == "") {
			t.Errorf("NotYet(%v, %q): needs a delay and a note", notYet.After, notYet.Note)
		}
		return err
	})
}

func (h *harness) callOnce(t *testing.T, ctx context.Context, verb func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := verb(ctx)
	h.checkError(t, err)
	return err
}

// checkError fails t if an error contains a secret of the configuration.
func (h *harness) checkError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
		for _, secret := range h.Secrets {
			if strings.Contains(text, secret) {
				t.Errorf("an error contains a secret of the configuration: %s", strings.ReplaceAll(text, secret, "SECRET"))
			}
		}
	}
}

// must calls a verb that must succeed.
func (h *harness) must(t *testing.T, what string, verb func(context.Context) error) {
	t.Helper()
	succeeds(t, what, h.call(t, verb))
}

// succeeds ends t if there is an error.
func succeeds(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// notBlamed fails t if the error is reported as the user's.
func notBlamed(t *testing.T, what string, err error) {
	t.Helper()
	if message, rejected := services.IsRejected(err); rejected {
		t.Errorf("%s: reported as the user's error: %s", what, message)
	}
}

// concealed fails t if an error contains a secret of the binding.
func concealed(t *testing.T, b services.RawBinding, err error) {
	t.Helper()
	if err != nil && b.Seed.Scrub(err.Error()) != err.Error() {
		t.Errorf("an error contains a secret of the binding: %s", b.Seed.Scrub(err.Error()))
	}
}

// soon is a context that ends with t, or after the time that a call may take.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	t.Cleanup(cancel)
	return ctx
}

// resource is an instance under test with its bindings.
type resource struct {
	raw      services.RawInstance
	bindings []services.RawBinding
}

// identities counts IDs, and parts the names for Suite.Apart.
var identities, parts atomic.Int64

func freshID(t *testing.T) string {
	return fmt.Sprintf("%s#%d@%d", t.Name(), identities.Add(1), time.Now().UnixNano())
}

// instance describes an instance with this ID, which is deleted at the end of t.
func (h *harness) instance(t *testing.T, id string, plan, params json.RawMessage) *resource {
	r := &resource{raw: h.driver.Instance(id, plan, params)}
	t.Cleanup(func() {
		cleaner := h
		if !h.Slow { // whose sessions take long to begin
			cleaner = h.restarted(t)
		}
		succeeds(t, "clean up", cleaner.deprovision(t, r))
	})
	return r
}

// provisioned provisions an instance with the suite's first parameters.
func (h *harness) provisioned(t *testing.T) *resource {
	t.Helper()
	r := h.instance(t, freshID(t), h.Plan, h.Create[0])
	succeeds(t, "provision", h.provision(t, r))
	return r
}

// binding describes a binding of r with a new ID and seed.
func (r *resource) binding(t *testing.T, id string, params json.RawMessage) services.RawBinding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	succeeds(t, "make a seed", err)
	b := services.RawBinding{ID: id, Params: params, Seed: seed}
	r.bindings = append(r.bindings, b)
	return b
}

func (h *harness) provision(t *testing.T, r *resource) error {
	t.Helper()
	return h.call(t, func(ctx context.Context) error { return h.driver.Provision(ctx, r.raw) })
}

func (h *harness) deprovision(t *testing.T, r *resource) error {
	t.Helper()
	return h.call(t, func(ctx context.Context) error { return h.driver.Deprovision(ctx, r.raw) })
}

func (h *harness) bind(t *testing.T, r *resource, b services.RawBinding) (services.Credentials, error) {
	t.Helper()
	var credentials services.Credentials
	err := h.call(t, func(ctx context.Context) (err error) {
		credentials, err = h.driver.Bind(ctx, r.raw, b)
		return err
	})
	concealed(t, b, err)
	return credentials, err
}

func (h *harness) mustBind(t *testing.T, r *resource, b services.RawBinding) services.Credentials {
	t.Helper()
	credentials, err := h.bind(t, r, b)
	succeeds(t, "bind", err)
	return credentials
}

// bound creates a binding and returns it with its credentials.
func (h *harness) bound(t *testing.T, r *resource, params json.RawMessage) (services.RawBinding, services.Credentials) {
	t.Helper()
	b := r.binding(t, freshID(t), params)
	credentials := h.mustBind(t, r, b)
	return b, credentials
}

func (h *harness) unbind(t *testing.T, r *resource, b services.RawBinding) error {
	t.Helper()
	b.Seed = nil // as the engine calls it
	return h.call(t, func(ctx context.Context) error { return h.driver.Unbind(ctx, r.raw, b) })
}

// nothingLeft fails t if anything of r is still on the server.
func (h *harness) nothingLeft(t *testing.T, r *resource) {
	t.Helper()
	left, err := h.Left(soon(t), services.InstanceName(r.raw.ID), r.bindingNames())
	succeeds(t, "Left", err)
	if len(left) > 0 {
		t.Errorf("left on the server: %v", left)
	}
	if found := h.listed(t, r); len(found) > 0 {
		t.Errorf("still listed: %v", found)
	}
}

func (r *resource) bindingNames() []string {
	names := make([]string, len(r.bindings))
	for i, b := range r.bindings {
		names[i] = services.BindingName(r.raw.ID, b.ID)
	}
	return names
}

// listed returns the entries of List for r: "instance" and the names of bindings.
func (h *harness) listed(t *testing.T, r *resource) []string {
	t.Helper()
	var found []services.Resource
	h.must(t, "list", func(ctx context.Context) (err error) {
		found, err = h.driver.Functions.List.OrZero(ctx, services.None{})
		return err
	})
	var mine []string
	for _, f := range found {
		if f.Name == "" {
			t.Errorf("listed without the name of the resource: %+v", f)
		}
		switch {
		case f.Binding == "" && f.Instance == services.InstanceName(r.raw.ID):
			mine = append(mine, "instance")
			if name, err := h.driver.Functions.ResourceName.OrZero(t.Context(), r.raw); err != nil || name != "" && name != f.Name {
				t.Errorf("the instance's resource is listed as %q, and ResourceName returns %q, %v", f.Name, name, err)
			}
		case f.Binding != "" && slices.Contains(r.bindingNames(), f.Binding):
			mine = append(mine, f.Binding)
		}
	}
	slices.Sort(mine)
	return mine
}

// expectListed fails t unless List returns r and exactly these bindings.
func (h *harness) expectListed(t *testing.T, r *resource, bindings ...services.RawBinding) {
	t.Helper()
	if h.driver.Functions.List == nil {
		return
	}
	want := []string{"instance"}
	for _, b := range bindings {
		want = append(want, services.BindingName(r.raw.ID, b.ID))
	}
	slices.Sort(want)
	if got := h.listed(t, r); !slices.Equal(got, want) {
		t.Errorf("listed: %v, want %v", got, want)
	}
}
