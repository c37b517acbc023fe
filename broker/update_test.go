package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

func updateTo(plan, parameters string) domain.UpdateDetails {
	return domain.UpdateDetails{PlanID: plan, RawParameters: json.RawMessage(parameters)}
}

// parameters returns what a fetch told as canonical JSON.
func parameters(t *testing.T, fetched any) string {
	t.Helper()
	raw, err := json.Marshal(fetched)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Updates of an instance on the plan small, made with {"colour": "red",
// "weight": 1}; called says whether the backend has to do anything.
func TestUpdate(t *testing.T) {
	maintained := func(d domain.UpdateDetails, version string) domain.UpdateDetails {
		d.MaintenanceInfo = &domain.MaintenanceInfo{Version: version}
		return d
	}
	inContext := func(d domain.UpdateDetails, raw string) domain.UpdateDetails {
		d.RawContext = json.RawMessage(raw)
		return d
	}
	const as = `{"colour":"red","weight":1}`
	tests := []struct {
		name   string
		send   domain.UpdateDetails
		want   string
		called bool
		plan   string
		params string
	}{
		{"nothing", updateTo("", ""), "200", false, brokertest.Small, as},
		{"null parameters", updateTo("", "null"), "200", false, brokertest.Small, as},
		{"the same plan", updateTo(brokertest.Small, ""), "200", false, brokertest.Small, as},
		{"the same values", updateTo("", `{"weight": 1.0}`), "200", false, brokertest.Small, as},
		{"all parameters repeated", updateTo("", as), "200", false, brokertest.Small, as},
		{"plan with all parameters repeated", updateTo(brokertest.Large, as), "200", true, brokertest.Large, as},
		{"no maintenance version", maintained(updateTo("", ""), ""), "200", false, brokertest.Small, as},
		{"the same maintenance version", maintained(updateTo("", ""), "1.2.3"), "200", false, brokertest.Small, as},
		{"one parameter", updateTo("", `{"colour": "blue"}`), "200", true, brokertest.Small, `{"colour":"blue","weight":1}`},
		{"a parameter to null", updateTo("", `{"weight": null}`), "200", true, brokertest.Small, `{"colour":"red","weight":null}`},
		{"plan", updateTo(brokertest.Large, ""), "200", true, brokertest.Large, as},
		{"plan and its maintenance version", maintained(updateTo(brokertest.Large, ""), "2.0.0"), "200", true, brokertest.Large, as},
		{"plan and parameter", updateTo(brokertest.Large, `{"colour": "blue"}`), "200", true, brokertest.Large, `{"colour":"blue","weight":1}`},
		{"context alone", inContext(updateTo("", ""), `{"instance_name": "new"}`), "200", false, brokertest.Small, as},
		{"to a plan without maintenance versions", updateTo(brokertest.Fixed, ""), "200", true, brokertest.Fixed, as},
		{"another service", domain.UpdateDetails{ServiceID: brokertest.OtherService}, "Invalid", false, brokertest.Small, as},
		{"unknown plan", updateTo("x", ""), "Invalid", false, brokertest.Small, as},
		{"another service's plan", updateTo(brokertest.OtherPlan, ""), "Invalid", false, brokertest.Small, as},
		{"parameters against the schema", updateTo("", `{"colour": 1}`), "Invalid", false, brokertest.Small, as},
		{"context that is a list", inContext(updateTo("", ""), `[]`), "Invalid", false, brokertest.Small, as},
		{"an old plan's maintenance version", maintained(updateTo(brokertest.Large, ""), "1.2.3"), "MaintenanceInfoConflict", false, brokertest.Small, as},
		{"unknown maintenance version", maintained(updateTo("", ""), "9.0.0"), "MaintenanceInfoConflict", false, brokertest.Small, as},
		{"what the backend cannot do", updateTo("", `{"colour": "black"}`), "Unsupported", false, brokertest.Small, as},
	}
	c := newClient(t, brokertest.Options{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			id := strings.ReplaceAll(test.name, " ", "-")
			c.provision(id, with(on(brokertest.Small), `{"colour": "red", "weight": 1}`), true).want(t, "201")
			before := len(c.Backend.Calls())
			a := c.update(id, test.send, true).want(t, test.want)
			if called := len(c.Backend.Calls()) > before; called != test.called {
				t.Errorf("backend called: %v", called)
			}
			if test.want == "Unsupported" && (a.err.UpdateRepeatable == nil || *a.err.UpdateRepeatable || !*a.err.InstanceUsable) {
				t.Errorf("update_repeatable %v", a.err.UpdateRepeatable)
			}
			got, details := c.fetch(id)
			got.want(t, "200")
			if details.PlanID != test.plan || parameters(t, details.Parameters) != test.params {
				t.Errorf("now on %s with %s", details.PlanID, parameters(t, details.Parameters))
			}
			if test.want == "200" { // again, now without effect
				before := len(c.Backend.Calls())
				c.update(id, test.send, false).want(t, "200")
				if len(c.Backend.Calls()) != before {
					t.Error("the second time it was done again")
				}
			}
		})
	}
}

func TestUpdateContext(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	for _, send := range []domain.UpdateDetails{
		{RawContext: json.RawMessage(`{"instance_name": "one"}`)},
		{RawContext: json.RawMessage(`{"instance_name": "two"}`), RawParameters: json.RawMessage(`{"colour": "red"}`)},
	} {
		c.update("i", send, true).want(t, "200")
		row, err := c.Store.Instance(context.Background(), c.Store.Pool, "i")
		if err != nil || parameters(t, json.RawMessage(row.Context)) != parameters(t, send.RawContext) {
			t.Errorf("the context is %s (%v)", row.Context, err)
		}
	}
}

func TestUpdateFromFixedPlan(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.update("none", updateTo(brokertest.Large, ""), true).want(t, "NotFound")
	c.provision("i", on(brokertest.Fixed), true).want(t, "201")
	a := c.update("i", updateTo(brokertest.Large, ""), true).want(t, "Unsupported")
	if a.err.UpdateRepeatable == nil || *a.err.UpdateRepeatable {
		t.Error("update_repeatable is not false")
	}
	d := updateTo("", "")
	d.MaintenanceInfo = &domain.MaintenanceInfo{Version: "1.0.0"}
	c.update("i", d, true).want(t, "MaintenanceInfoConflict")
	c.update("i", updateTo(brokertest.Fixed, `{"colour": "red"}`), true).want(t, "200")
}

func TestUpdateNeedsAsync(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Slow), true).want(t, "201")
	c.provision("j", on(brokertest.Small), true).want(t, "201")
	before := len(c.Backend.Calls())
	c.update("i", updateTo("", `{"colour": "red"}`), false).want(t, "AsyncRequired")
	c.update("j", updateTo(brokertest.Slow, ""), false).want(t, "AsyncRequired")
	if len(c.Backend.Calls()) != before {
		t.Error("the backend was called")
	}
	if _, details := c.fetch("j"); details.PlanID != brokertest.Small {
		t.Errorf("now on %s", details.PlanID)
	}
}

func TestUpdateInProgress(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
	gate := brokertest.NewGate()
	made := c.provision("i", on(brokertest.Small), true)
	if made.word == "202" {
		c.AwaitOperation(t, made.operation)
	}
	c.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	first := c.update("i", updateTo(brokertest.Large, ""), true).want(t, "202")
	gate.AwaitCall(t)
	if again := c.update("i", updateTo(brokertest.Large, ""), true).want(t, "202"); again.operation != first.operation {
		t.Error("another operation for the same update")
	}
	c.update("i", updateTo("", `{"colour": "red"}`), true).want(t, "Concurrency")
	got, _ := c.fetch("i")
	got.want(t, "Concurrency")
	c.provision("i", on(brokertest.Small), true).want(t, "200") // it exists as it was made
	gate.Open()
	c.AwaitOperation(t, first.operation)
	if _, details := c.fetch("i"); details.PlanID != brokertest.Large || details.MaintenanceInfo.Version != "2.0.0" {
		t.Errorf("now %+v", details)
	}
}

// What the backend refuses during the update is undone and never retried.
func TestUpdateRejected(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", with(on(brokertest.Small), `{"colour": "red"}`), true).want(t, "201")
	c.Backend.AfterCall(func(_ context.Context, verb, id, _ string) error {
		if colour, _ := c.Backend.Colour(id); verb == "update" && colour == "blue" {
			return services.Rejected("parameters.colour: blue is sold out")
		}
		return nil
	})
	a := c.update("i", updateTo("", `{"colour": "blue"}`), true).want(t, "Unsupported")
	if a.err.UpdateRepeatable == nil || *a.err.UpdateRepeatable || !*a.err.InstanceUsable {
		t.Errorf("repeatable %v, usable %v", a.err.UpdateRepeatable, a.err.InstanceUsable)
	}
	if colour, _ := c.Backend.Colour("i"); colour != "red" {
		t.Errorf("the instance is %s", colour)
	}
	got, _ := c.fetch("i")
	got.want(t, "200")
}

// An action is of the update that asks for it: it is done again when it is asked for again, and the
// instance does not keep it.
func TestUpdateAction(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", with(on(brokertest.Small), `{"action": "paint"}`), true).want(t, "Invalid")
	c.provision("i", with(on(brokertest.Small), `{"colour": "red"}`), true).want(t, "201")
	failed := false
	c.Backend.AfterCall(func(_ context.Context, verb, _, _ string) error {
		if verb == "update" && !failed {
			failed = true
			return errors.New("the connection broke")
		}
		return nil
	})
	for range 2 {
		c.update("i", updateTo("", `{"action": "paint"}`), true).want(t, "200")
		if _, details := c.fetch("i"); parameters(t, details.Parameters) != `{"colour":"red"}` {
			t.Errorf("the instance has %s", parameters(t, details.Parameters))
		}
	}
	done := c.Backend.Actions()
	if len(done) != 3 || done[0] != done[1] || done[1] == done[2] || !strings.HasSuffix(done[2], " paint") {
		t.Errorf("done: %q, want twice by the first operation, once by the second", done)
	}
	c.update("i", updateTo("", `{"colour": "blue"}`), true).want(t, "200")
	if again := c.Backend.Actions(); len(again) != 3 {
		t.Errorf("done by another update: %q", again)
	}
}
