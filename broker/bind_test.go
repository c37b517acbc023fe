package broker_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// The same bind again, and binds that differ, against a binding made for the
// application "app" with {"role": "read_only"}.
func TestBindAgain(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.provision("j", on(brokertest.Small), true).want(t, "201")
	made := bound(brokertest.Small, `{"role": "read_only"}`)
	first := c.bind("i", "b", made, true).want(t, "201")
	resource := func(r domain.BindResource) domain.BindDetails {
		d := made
		d.AppGUID, d.BindResource = "", &r
		return d
	}
	change := func(f func(*domain.BindDetails)) domain.BindDetails {
		d := made
		f(&d)
		return d
	}
	tests := []struct {
		name     string
		instance string
		send     domain.BindDetails
		want     string
		says     string
	}{
		{"the same", "i", made, "200", ""},
		{"application in bind_resource", "i", resource(domain.BindResource{AppGuid: "app"}), "200", ""},
		{"application in both places", "i", change(func(d *domain.BindDetails) { d.BindResource = &domain.BindResource{AppGuid: "app"} }), "200", ""},
		{"another context", "i", change(func(d *domain.BindDetails) { d.RawContext = json.RawMessage(`{"a": 1}`) }), "200", ""},
		{"other parameters", "i", bound(brokertest.Small, `{"role": "read_write"}`), "Conflict", "parameters"},
		{"no parameters", "i", bound(brokertest.Small, ``), "Conflict", "parameters"},
		{"another application", "i", resource(domain.BindResource{AppGuid: "other"}), "Conflict", "app_guid"},
		{"no application", "i", change(func(d *domain.BindDetails) { d.AppGUID = "" }), "Conflict", "app_guid"},
		{"a route", "i", resource(domain.BindResource{AppGuid: "app", Route: "r"}), "Conflict", "bind_resource"},
		{"another instance", "j", made, "Conflict", "in use"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := c.bind(test.instance, "b", test.send, true).want(t, test.want)
			if !strings.Contains(a.text(), test.says) {
				t.Errorf("%q does not say %q", a.text(), test.says)
			}
			if test.want == "200" && a.credentials != first.credentials {
				t.Error("other credentials than the first time")
			}
		})
	}
	if got := c.fetchBinding("i", "b"); got.credentials != first.credentials {
		t.Error("fetched other credentials")
	}
	if binds := strings.Count(strings.Join(c.Backend.Calls(), "\n"), "bind b"); binds != 1 {
		t.Errorf("the backend bound %d times", binds)
	}
}

func TestBindRefused(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	for id, plan := range map[string]string{"small": brokertest.Small, "fixed": brokertest.Fixed, "app": brokertest.AppOnly, "slow": brokertest.Slow} {
		c.provision(id, on(plan), true).want(t, "201")
	}
	before := len(c.Backend.Calls())
	key := func(plan string) domain.BindDetails {
		return domain.BindDetails{ServiceID: brokertest.Service, PlanID: plan}
	}
	tests := []struct {
		name, instance string
		send           domain.BindDetails
		async          bool
		want           string
	}{
		{"no such instance", "none", bound(brokertest.Small, ""), true, "NotFound"},
		{"unknown service", "small", domain.BindDetails{ServiceID: "x", PlanID: brokertest.Small}, true, "Invalid"},
		{"another service", "small", domain.BindDetails{ServiceID: brokertest.OtherService, PlanID: brokertest.OtherPlan}, true, "Invalid"},
		{"another plan", "small", bound(brokertest.Large, ""), true, "Invalid"},
		{"unknown plan", "small", bound("x", ""), true, "Invalid"},
		{"not bindable", "fixed", bound(brokertest.Fixed, ""), true, "Invalid"},
		{"parameters against the schema", "small", bound(brokertest.Small, `{"role": "owner"}`), true, "Invalid"},
		{"parameters that are a list", "small", bound(brokertest.Small, `[]`), true, "Invalid"},
		{"service key where an application is needed", "app", key(brokertest.AppOnly), true, "RequiresApp"},
		{"empty application", "app", domain.BindDetails{ServiceID: brokertest.Service, PlanID: brokertest.AppOnly, BindResource: &domain.BindResource{}}, true, "RequiresApp"},
		{"asynchronous plan", "slow", bound(brokertest.Slow, ""), false, "AsyncRequired"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if a := c.bind(test.instance, "b", test.send, test.async).want(t, test.want); a.text() == "" {
				t.Error("no description")
			}
		})
	}
	if calls := c.Backend.Calls(); len(calls) != before || c.Memory.Len() != 0 {
		t.Errorf("side effects: %v, %v", calls[before:], c.Memory.Paths())
	}
	c.bind("app", "b", bound(brokertest.AppOnly, ""), true).want(t, "201")
	c.bind("small", "key", key(brokertest.Small), true).want(t, "201")
}

// What the backend refuses is undone, and neither secrets nor a row stay.
func TestBindRejected(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.Backend.AfterCall(func(_ context.Context, verb, _, password string) error {
		if verb == "bind" {
			return services.Rejected("parameters.role: not with %s", password)
		}
		return nil
	})
	if a := c.bind("i", "b", bound(brokertest.Small, ""), false).want(t, "Invalid"); a.text() != "parameters.role: not with [redacted]" {
		t.Errorf("description %q", a.text())
	}
	c.unbind("i", "b", true).want(t, "Gone")
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

func TestBindInProgress(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond})
	gate := brokertest.NewGate()
	c.provision("i", on(brokertest.Small), false).want(t, "201")
	c.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	first := c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "202")
	if first.credentials != "" {
		t.Error("credentials in a 202")
	}
	gate.AwaitCall(t)
	if again := c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "202"); again.operation != first.operation {
		t.Error("another operation for the same bind")
	}
	c.bind("i", "b", bound(brokertest.Small, `{"role": "read_only"}`), true).want(t, "Conflict")
	c.fetchBinding("i", "b").want(t, "NotFound")
	if state, poll := c.poll("i", "b", first.operation); state != "in progress" || poll.RetryAfter == 0 {
		t.Errorf("poll: %+v", poll)
	}
	if state, _ := c.poll("other", "b", first.operation); state != "NotFound" {
		t.Errorf("poll of another instance's binding: %s", state)
	}
	gate.Open()
	c.AwaitOperation(t, first.operation)
	a := c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "200")
	if !c.Backend.Works([]byte(a.credentials)) {
		t.Error("the credentials of the repeated PUT do not work")
	}
}

// Many equal binds at once are one binding: every answer is right.
func TestBindStorm(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	for round := range 10 {
		id := string(rune('a' + round))
		var wg sync.WaitGroup
		answers := make([]answer, 8)
		for i := range answers {
			wg.Go(func() { answers[i] = c.bind("i", id, bound(brokertest.Small, ""), i%2 == 0) })
		}
		wg.Wait()
		created := 0
		for _, a := range answers {
			if a.word == "201" {
				created++
			} else {
				a.want(t, "200")
			}
			if a.credentials != answers[0].credentials {
				t.Error("different credentials for one binding")
			}
		}
		if created != 1 {
			t.Errorf("%d answers say that they created it", created)
		}
	}
}

func TestRotation(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.provision("j", on(brokertest.Small), true).want(t, "201")
	c.provision("k", on(brokertest.AppOnly), true).want(t, "201")
	old := c.bind("i", "old", bound(brokertest.Small, `{"role": "read_only"}`), true).want(t, "201")
	c.bind("j", "elsewhere", bound(brokertest.Small, ""), true).want(t, "201")
	c.bind("k", "fixed", bound(brokertest.AppOnly, ""), true).want(t, "201")
	tests := []struct {
		name, instance string
		send           broker.Rotation
		want           string
	}{
		{"no predecessor", "i", broker.Rotation{PredecessorID: "none"}, "Invalid"},
		{"predecessor of another instance", "i", broker.Rotation{PredecessorID: "elsewhere"}, "Invalid"},
		{"no instance", "none", broker.Rotation{PredecessorID: "old"}, "Invalid"},
		{"plan without rotation", "k", broker.Rotation{PredecessorID: "fixed"}, "Invalid"},
		{"another service", "i", broker.Rotation{PredecessorID: "old", ServiceID: brokertest.OtherService}, "Invalid"},
		{"a plan of nobody's", "i", broker.Rotation{PredecessorID: "old", PlanID: brokertest.Large}, "Invalid"},
		{"unknown plan", "i", broker.Rotation{PredecessorID: "old", PlanID: "x"}, "Invalid"},
		{"context that is a list", "i", broker.Rotation{PredecessorID: "old", RawContext: json.RawMessage(`[]`)}, "Invalid"},
		{"itself", "i", broker.Rotation{PredecessorID: "new"}, "Invalid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { c.rotate(test.instance, "new", test.send).want(t, test.want) })
	}
	made := c.rotate("i", "new", broker.Rotation{PredecessorID: "old"}).want(t, "201")
	if !c.Backend.Works([]byte(made.credentials)) || !c.Backend.Works([]byte(old.credentials)) || made.credentials == old.credentials {
		t.Error("old and new credentials do not work side by side")
	}
	row, err := c.Store.Binding(context.Background(), c.Store.Pool, "new")
	if err != nil || string(row.Parameters) != `{"role":"read_only"}` || row.AppID != "app" {
		t.Errorf("parameters %s, application %s (%v)", row.Parameters, row.AppID, err)
	}
	for _, state := range []string{"predecessor there", "predecessor gone"} {
		again := c.rotate("i", "new", broker.Rotation{PredecessorID: "old"}).want(t, "200")
		if again.credentials != made.credentials {
			t.Errorf("%s: other credentials", state)
		}
		if state == "predecessor there" {
			c.unbind("i", "old", true).want(t, "200")
		}
	}
	if c.Backend.Works([]byte(old.credentials)) || !c.Backend.Works([]byte(made.credentials)) {
		t.Error("the wrong one was revoked")
	}
	c.rotate("i", "newer", broker.Rotation{PredecessorID: "old"}).want(t, "Invalid")
	c.bind("i", "new", bound(brokertest.Small, `{"role": "read_only"}`), true).want(t, "Conflict") // not a rotation
}

// A rotation may name the plan that the instance is on by now.
func TestRotationAfterUpdate(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.bind("i", "old", bound(brokertest.Small, ""), true).want(t, "201")
	c.update("i", updateTo(brokertest.Large, ""), true).want(t, "200")
	c.bind("i", "old", bound(brokertest.Small, ""), true).want(t, "200")
	c.rotate("i", "new", broker.Rotation{PredecessorID: "old", PlanID: brokertest.Large}).want(t, "201")
	c.rotate("i", "newer", broker.Rotation{PredecessorID: "old"}).want(t, "201")
}

// A service key may be put again at every reconcile, for ever: that takes no
// transaction and few queries.
func TestRepeatedBindIsCheap(t *testing.T) {
	worker := newClient(t, brokertest.Options{})
	idle := client{brokertest.New(t, brokertest.Options{
		DatabaseURL: worker.DatabaseURL, Backend: worker.Backend, Credentials: worker.Memory, NoWork: true,
	}), worker.ctx}
	worker.provision("i", on(brokertest.Small), true).want(t, "201")
	first := worker.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "201")
	before := idle.Store.Pool.Stat().AcquireCount()
	if a := idle.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "200"); a.credentials != first.credentials {
		t.Error("other credentials")
	}
	if n := idle.Store.Pool.Stat().AcquireCount() - before; n > 2 {
		t.Errorf("%d queries", n)
	}
}

// A binding whose credentials the store does not have, as after the state was
// restored from a backup, is one to delete and to make anew, not a fault to retry.
func TestLostCredentials(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Small), true).want(t, "201")
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "201")
	if err := c.Memory.Delete(c.ctx, credhub.CredentialsPath("i", "b")); err != nil {
		t.Fatal(err)
	}
	c.fetchBinding("i", "b").want(t, "NotFound")
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "Conflict")
	c.unbind("i", "b", true).want(t, "200")
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "201")
}
