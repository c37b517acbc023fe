package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

func TestDeprovision(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.deprovision("i", true).want(t, "Gone")
	c.unbind("i", "b", true).want(t, "Gone")
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.unbind("i", "b", true).want(t, "Gone")
	c.bind("i", "b2", bound(brokertest.Small, ""), true).want(t, "201")
	c.bind("i", "b1", bound(brokertest.Small, ""), true).want(t, "201")
	a := c.deprovision("i", true).want(t, "Unsupported")
	if !strings.Contains(a.text(), "2 binding(s)") || !strings.Contains(a.text(), "b1, b2") || a.err.InstanceUsable == nil || !*a.err.InstanceUsable {
		t.Errorf("%q, usable %v", a.text(), a.err.InstanceUsable)
	}
	c.unbind("i", "b1", true).want(t, "200")
	c.unbind("i", "b2", true).want(t, "200")
	c.unbind("i", "b2", true).want(t, "Gone")
	c.deprovision("i", true).want(t, "200")
	c.deprovision("i", true).want(t, "Gone")
	c.CheckEmpty(t)
	for _, binding := range []string{"", "b1"} {
		if state, _ := c.poll("i", binding, ""); state != "succeeded" {
			t.Errorf("poll after the delete: %s", state)
		}
	}
	got, _ := c.fetch("i")
	got.want(t, "NotFound")
	c.fetchBinding("i", "b1").want(t, "NotFound")
}

func TestDeprovisionListsSome(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	for i := range 25 {
		c.bind("i", fmt.Sprintf("b%02d", i), bound(brokertest.Small, ""), true).want(t, "201")
	}
	a := c.deprovision("i", true).want(t, "Unsupported")
	if !strings.Contains(a.text(), "25 binding(s)") || strings.Contains(a.text(), "b20") || !strings.HasSuffix(a.text(), "b19, …") {
		t.Errorf("%q", a.text())
	}
}

// A plan that cascades takes any number of bindings with it, each on record.
func TestDeprovisionCascades(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Cascading), true).want(t, "201")
	const most = 45
	for i := range most {
		c.bind("i", fmt.Sprintf("b%02d", i), bound(brokertest.Cascading, ""), true).want(t, "201")
	}
	gate := brokertest.NewGate()
	c.Backend.BeforeCall(func(ctx context.Context, _, id string) error {
		if id == "b44" {
			return gate.Pass(ctx)
		}
		return nil
	})
	got := make(chan answer)
	go func() { got <- c.deprovision("i", false) }()
	gate.AwaitCall(t)
	var left int
	if err := c.Store.Pool.QueryRow(c.ctx, "select count(*) from bindings").Scan(&left); err != nil || left != 5 {
		t.Errorf("%d bindings left before the last portion (%v)", left, err)
	}
	gate.Open()
	(<-got).want(t, "200")
	c.CheckEmpty(t)
	var audited int
	err := c.Store.Pool.QueryRow(context.Background(), "select count(*) from audit where action = 'unbind' and event = 'succeeded'").Scan(&audited)
	if err != nil || audited != most {
		t.Errorf("%d bindings in the audit record (%v)", audited, err)
	}
	if unbinds := strings.Count(strings.Join(c.Backend.Calls(), "\n"), "unbind"); unbinds != most {
		t.Errorf("%d calls of unbind for %d bindings", unbinds, most)
	}
}

// A cascade that stops half-way leaves those bindings that are still there, and
// goes on from there.
func TestDeprovisionCascadesHalfway(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Cascading), true).want(t, "201")
	for _, id := range []string{"a", "b", "c"} {
		c.bind("i", id, bound(brokertest.Cascading, ""), true).want(t, "201")
	}
	failing(c, services.Rejected("b is in use"), "unbind b")
	if a := c.deprovision("i", true).want(t, "Unsupported"); a.text() != "b is in use" || a.err.InstanceUsable == nil || !*a.err.InstanceUsable {
		t.Errorf("%q", a.text())
	}
	for id, want := range map[string]string{"a": "NotFound", "b": "200", "c": "200"} {
		if got := c.fetchBinding("i", id); got.word != want {
			t.Errorf("binding %s: %s, not %s", id, got.word, want)
		} else if want == "200" && !c.Backend.Works([]byte(got.credentials)) {
			t.Errorf("binding %s does not work any more", id)
		}
	}
	c.Backend.BeforeCall(nil)
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

func TestDeleteNeedsAsync(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Slow), true).want(t, "201")
	c.bind("i", "b", bound(brokertest.Slow, ""), true).want(t, "201")
	before := len(c.Backend.Calls())
	c.unbind("i", "b", false).want(t, "AsyncRequired")
	c.deprovision("i", false).want(t, "AsyncRequired")
	if len(c.Backend.Calls()) != before {
		t.Error("the backend was called")
	}
}

func TestDeleteInProgress(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond, SyncWait: time.Millisecond})
	gate := brokertest.NewGate()
	open := brokertest.NewGate()
	open.Open()
	hold := func(g *brokertest.Gate) {
		c.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return g.Pass(ctx) })
	}
	hold(open)
	c.settled(t, c.provision("i", on(brokertest.Small), true))
	c.settled(t, c.bind("i", "b", bound(brokertest.Small, ""), true))
	hold(gate)
	first := c.unbind("i", "b", true).want(t, "202")
	gate.AwaitCall(t)
	if again := c.unbind("i", "b", true).want(t, "202"); again.operation != first.operation {
		t.Error("another operation for the same unbind")
	}
	c.unbind("i", "b", false).want(t, "TimedOut") // and is not cancelled
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "Concurrency")
	c.fetchBinding("i", "b").want(t, "NotFound")
	gate.Open()
	c.AwaitOperation(t, first.operation)
	c.unbind("i", "b", true).want(t, "Gone")

	gate = brokertest.NewGate()
	hold(gate)
	first = c.deprovision("i", true).want(t, "202")
	gate.AwaitCall(t)
	if again := c.deprovision("i", true).want(t, "202"); again.operation != first.operation {
		t.Error("another operation for the same deprovision")
	}
	c.deprovision("i", false).want(t, "TimedOut")
	c.provision("i", on(brokertest.Small), true).want(t, "Concurrency")
	gate.Open()
	if op := c.AwaitOperation(t, first.operation); op.State != "succeeded" {
		t.Errorf("the delete %s: %s", op.State, op.Description)
	}
	c.deprovision("i", true).want(t, "Gone")
	c.CheckEmpty(t)
}

// settled waits for an operation that may have been answered with 202.
func (c client) settled(t *testing.T, a answer) {
	t.Helper()
	if a.word == "202" {
		c.AwaitOperation(t, a.operation)
	} else if a.word != "200" && a.word != "201" {
		t.Fatalf("the answer is %s %q", a.word, a.text())
	}
}

// What the backend refuses to delete stays as it is.
func TestDeleteRejected(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	first := c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "201")
	failing(c, services.Rejected("it is in use"), "unbind", "deprovision")
	c.unbind("i", "b", true).want(t, "Unsupported")
	if got := c.fetchBinding("i", "b").want(t, "200"); got.credentials != first.credentials {
		t.Error("other credentials")
	}
	failing(c, services.Rejected("it is in use"), "deprovision")
	c.unbind("i", "b", true).want(t, "200")
	a := c.deprovision("i", true).want(t, "Unsupported")
	if a.err.InstanceUsable == nil || !*a.err.InstanceUsable || a.err.UpdateRepeatable != nil {
		t.Errorf("usable %v, repeatable %v", a.err.InstanceUsable, a.err.UpdateRepeatable)
	}
	got, _ := c.fetch("i")
	got.want(t, "200")
	c.Backend.BeforeCall(nil)
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

// Credentials that the store does not give now are not made up.
func TestCredentialStoreAway(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "201")
	c.Memory.Fail(errors.New("sealed"))
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "Unavailable")
	c.fetchBinding("i", "b").want(t, "Unavailable")
	if state, _ := c.poll("i", "b", ""); state != "succeeded" {
		t.Errorf("poll: %s", state)
	}
	c.Memory.Fail(nil)
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "200")
}
