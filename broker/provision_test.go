package broker_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

func TestLifecycle(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	for _, async := range []bool{true, false} {
		if a := c.provision("i", on(brokertest.Small), async).want(t, "201"); a.dashboard != "https://dashboard.example.com/i" {
			t.Errorf("dashboard %q", a.dashboard)
		}
		a := c.bind("i", "b", bound(brokertest.Small, ""), async).want(t, "201")
		if !c.Backend.Works([]byte(a.credentials)) {
			t.Error("the credentials do not work")
		}
		if len(a.endpoints) != 1 || a.endpoints[0].Ports[0] != "5432" {
			t.Errorf("endpoints %v", a.endpoints)
		}
		c.unbind("i", "b", async).want(t, "200")
		if c.Backend.Works([]byte(a.credentials)) {
			t.Error("the revoked credentials work")
		}
		c.deprovision("i", async).want(t, "200")
		c.CheckEmpty(t)
	}
}

// The same request again, and requests that differ, against an instance made
// with the parameters {"colour": "red", "weight": 1}.
func TestProvisionAgain(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	made := with(on(brokertest.Small), `{"colour": "red", "weight": {"b": [1, 2.50, null], "a": 1e2}}`)
	c.provision("i", made, true).want(t, "201")
	change := func(f func(*domain.ProvisionDetails)) domain.ProvisionDetails {
		d := made
		f(&d)
		return d
	}
	tests := []struct {
		name string
		send domain.ProvisionDetails
		want string
		says string
	}{
		{"the same", made, "200", ""},
		{"other order and spelling", with(made, ` {"weight":{"a":100.0,"b":[1.0,2.5,null]},"colour":"red"}`), "200", ""},
		{"other context", change(func(d *domain.ProvisionDetails) { d.RawContext = json.RawMessage(`{"instance_name": "new"}`) }), "200", ""},
		{"maintenance version of the plan", change(func(d *domain.ProvisionDetails) { d.MaintenanceInfo = &domain.MaintenanceInfo{Version: "1.2.3"} }), "200", ""},
		{"another value", with(made, `{"colour": "blue", "weight": {"b": [1, 2.5, null], "a": 100}}`), "Conflict", "parameters"},
		{"another order of a list", with(made, `{"colour": "red", "weight": {"b": [2.5, 1, null], "a": 100}}`), "Conflict", "parameters"},
		{"a number as text", with(made, `{"colour": "red", "weight": {"b": ["1", 2.5, null], "a": 100}}`), "Conflict", "parameters"},
		{"no parameters", with(made, ""), "Conflict", "parameters"},
		{"another plan", change(func(d *domain.ProvisionDetails) { d.PlanID = brokertest.Large }), "Conflict", "plan_id"},
		{"another service", change(func(d *domain.ProvisionDetails) {
			d.ServiceID, d.PlanID = brokertest.OtherService, brokertest.OtherPlan
		}), "Conflict", "service_id"},
		{"another organisation", change(func(d *domain.ProvisionDetails) { d.OrganizationGUID = "x" }), "Conflict", "organization_guid"},
		{"another space", change(func(d *domain.ProvisionDetails) { d.SpaceGUID = "x" }), "Conflict", "space_guid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, async := range []bool{true, false} {
				a := c.provision("i", test.send, async).want(t, test.want)
				if !strings.Contains(a.text(), test.says) {
					t.Errorf("%q does not name %s", a.text(), test.says)
				}
			}
		})
	}
	if calls := c.Backend.Calls(); len(calls) != 1 {
		t.Errorf("the backend was called: %v", calls)
	}
}

func TestProvisionNoParameters(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	for _, none := range []string{"null", "{}", " { } "} {
		c.provision("i", with(on(brokertest.Small), none), true).want(t, "200")
	}
}

func TestProvisionRefused(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	version := func(v string) *domain.MaintenanceInfo { return &domain.MaintenanceInfo{Version: v} }
	tests := []struct {
		name  string
		send  domain.ProvisionDetails
		async bool
		want  string
		says  string
	}{
		{"unknown service", domain.ProvisionDetails{ServiceID: "x", PlanID: brokertest.Small}, true, "Invalid", "service_id"},
		{"unknown plan", on("x"), true, "Invalid", "plan_id"},
		{"another service's plan", on(brokertest.OtherPlan), true, "Invalid", "plan_id"},
		{"parameters against the schema", with(on(brokertest.Small), `{"colour": 5}`), true, "Invalid", "colour"},
		{"unknown parameter", with(on(brokertest.Small), `{"color": "red"}`), true, "Invalid", "color"},
		{"parameters that are a list", with(on(brokertest.Small), `[]`), true, "Invalid", "parameters"},
		{"context that is a list", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Small, RawContext: []byte(`[]`)}, true, "Invalid", "context"},
		{"asynchronous plan", on(brokertest.Slow), false, "AsyncRequired", "accepts_incomplete"},
		{"old maintenance version", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Small, MaintenanceInfo: version("1.2.2")}, true, "MaintenanceInfoConflict", "1.2.3"},
		{"maintenance version of a plan without", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Fixed, MaintenanceInfo: version("1.0.0")}, true, "MaintenanceInfoConflict", "has none"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := c.provision("i", test.send, test.async).want(t, test.want)
			if !strings.Contains(a.text(), test.says) {
				t.Errorf("%q does not say %q", a.text(), test.says)
			}
		})
	}
	if calls := c.Backend.Calls(); len(calls) != 0 {
		t.Errorf("the backend was called: %v", calls)
	}
	c.CheckEmpty(t)
	if state, _ := c.poll("i", "", ""); state != "NotFound" {
		t.Errorf("poll of what never was: %s", state)
	}
}

func TestProvisionInProgress(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
	gate := brokertest.NewGate()
	c.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	first := c.provision("i", on(brokertest.Small), true).want(t, "202")
	if first.dashboard == "" {
		t.Error("the first answer has no dashboard_url")
	}
	gate.AwaitCall(t)
	if again := c.provision("i", on(brokertest.Small), true).want(t, "202"); again.operation != first.operation {
		t.Errorf("operation %s, then %s", first.operation, again.operation)
	}
	c.provision("i", with(on(brokertest.Small), `{"colour": "red"}`), true).want(t, "Conflict")
	got, _ := c.fetch("i")
	got.want(t, "NotFound")
	state, poll := c.poll("i", "", first.operation)
	if state != "in progress" || poll.RetryAfter <= 0 || poll.Description != "" {
		t.Errorf("poll: %+v", poll)
	}
	gate.Open()
	c.AwaitOperation(t, first.operation)
	c.provision("i", on(brokertest.Small), true).want(t, "200")
	got, details := c.fetch("i")
	got.want(t, "200")
	if details.PlanID != brokertest.Small || details.MaintenanceInfo.Version != "1.2.3" || details.DashboardURL == "" {
		t.Errorf("fetched %+v", details)
	}
	for _, named := range []string{first.operation, "", "no-such-operation"} {
		state, poll := c.poll("i", "", named)
		if state != "succeeded" || poll.RetryAfter != 0 || poll.Description != "" || poll.InstanceUsable != nil || poll.UpdateRepeatable != nil {
			t.Errorf("poll of %q: %+v", named, poll)
		}
	}
}

// What the backend refuses is the user's error, and nothing is left of it.
func TestProvisionRejected(t *testing.T) {
	for _, async := range []bool{true, false} {
		t.Run(map[bool]string{true: "asynchronous", false: "synchronous"}[async], func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			c.Backend.AfterCall(func(_ context.Context, verb, _, _ string) error {
				if verb == "provision" {
					return services.Rejected("parameters.colour: no such colour")
				}
				return nil
			})
			if a := c.provision("i", on(brokertest.Small), async).want(t, "Invalid"); a.text() != "parameters.colour: no such colour" {
				t.Errorf("description %q", a.text())
			}
			c.CheckEmpty(t)
			if state, poll := c.poll("i", "", ""); state != "failed" || poll.InstanceUsable != nil || poll.UpdateRepeatable != nil {
				t.Errorf("poll: %s %+v", state, poll)
			}
			c.deprovision("i", async).want(t, "Gone")
			c.Backend.AfterCall(nil)
			c.provision("i", with(on(brokertest.Large), `{"colour": "red"}`), async).want(t, "201")
		})
	}
}
