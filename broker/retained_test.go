package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// retained returns the retained instances that had the ID, latest first.
func (c client) retained(t *testing.T, id string) []store.Instance {
	t.Helper()
	found, err := c.Store.RetainedInstances(context.Background(), c.Store.Pool, id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// deleted makes an instance i, blue and with a binding, and deletes it.
func deleted(t *testing.T, c client) store.Instance {
	t.Helper()
	c.provision("i", with(on(brokertest.Retaining), `{"colour": "blue"}`), true).want(t, "201")
	made := c.bind("i", "b", bound(brokertest.Retaining, ""), true).want(t, "201")
	a := c.deprovision("i", true).want(t, "200")
	if c.Backend.Works([]byte(made.credentials)) || c.Memory.Len() != 0 {
		t.Error("the binding is not revoked")
	}
	if colour, ok := c.Backend.Colour("i"); !ok || colour != "blue" {
		t.Error("the data is gone")
	}
	if state, _ := c.poll("i", "", a.operation); state != "succeeded" {
		t.Errorf("the deprovision is %s", state)
	}
	found := c.retained(t, "i")
	if len(found) != 1 {
		t.Fatalf("%d instances are retained", len(found))
	}
	return found[0]
}

// A deleted instance is gone for its platform, and its data is there.
func TestKept(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	retained := deleted(t, c)
	if left := time.Until(*retained.RetainedUntil); left < 167*time.Hour || left > 168*time.Hour {
		t.Errorf("it is retained for %s", left)
	}
	for _, id := range []string{"i", retained.ID} {
		answer, _ := c.fetch(id)
		answer.want(t, "NotFound")
		c.bind(id, "c", bound(brokertest.Retaining, ""), true).want(t, "NotFound")
		c.update(id, domain.UpdateDetails{RawParameters: []byte(`{"colour": "red"}`)}, true).want(t, "NotFound")
		c.deprovision(id, true).want(t, "Gone")
		c.unbind(id, "b", true).want(t, "Gone")
	}
	c.provision(retained.ID, on(brokertest.Retaining), true).want(t, "Conflict")

	// The same ID again is another instance, which has nothing of the first.
	c.provision("i", on(brokertest.Retaining), true).want(t, "201")
	if instances, _ := c.Backend.Size(); instances != 2 {
		t.Errorf("the backend has %d instances", instances)
	}
	made := c.bind("i", "b", bound(brokertest.Retaining, ""), true).want(t, "201")
	if !c.Backend.Works([]byte(made.credentials)) {
		t.Error("the new instance's binding does not work")
	}
	if colour, _ := c.Backend.Colour("i"); colour != "blue" {
		t.Errorf("the retained instance is %q", colour)
	}
	c.deprovision("i", true).want(t, "200")
	if found := c.retained(t, "i"); len(found) != 2 {
		t.Errorf("%d instances are retained", len(found))
	}
	if c.as("k8s").deprovision("i", true).word != "Gone" {
		t.Error("another platform sees it")
	}
}

// After its time, or at the operator's word, a retained instance is deleted.
func TestKeptEnds(t *testing.T) {
	tests := map[string]func(c client, id string) error{
		"its time is over": func(c client, id string) error {
			_, err := c.Store.Pool.Exec(c.ctx, "update instances set kept_until = now() where id = $1", id)
			return err
		},
		"purged": func(c client, id string) error { return c.Engine.Purge(c.ctx, id, nil) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			retained := deleted(t, c)
			if err := end(c, retained.ID); err != nil {
				t.Fatal(err)
			}
			err := c.Engine.Restore(c.ctx, operation.Restoration{RetainedID: retained.ID, NewID: "new"})
			if !errors.Is(err, operation.ErrNotRestorable) {
				t.Errorf("it was restored: %v", err)
			}
			for began := time.Now(); len(c.retained(t, "i")) > 0; time.Sleep(20 * time.Millisecond) {
				if time.Since(began) > 40*time.Second {
					t.Fatal("it is still retained")
				}
			}
			c.CheckEmpty(t)
		})
	}
}

// A restored instance is its platform's under the new ID, with its data.
func TestRestore(t *testing.T) {
	for name, existing := range map[string]bool{"as an unknown ID": false, "as an instance that is there": true} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			retained := deleted(t, c)
			if existing {
				c.provision("new", with(on(brokertest.Retaining), `{"colour": "red"}`), true).want(t, "201")
			}
			if err := c.Engine.Restore(c.ctx, operation.Restoration{RetainedID: retained.ID, NewID: "new"}); err != nil {
				t.Fatal(err)
			}
			answer, details := c.fetch("new")
			answer.want(t, "200")
			if got := details.Parameters; string(got) != `{"colour":"blue"}` && string(got) != `{"colour": "blue"}` {
				t.Errorf("its parameters are %s", got)
			}
			for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				if n, _ := c.Backend.Size(); n == 1 {
					break
				} else if time.Since(began) > 40*time.Second {
					t.Fatalf("the backend has %d instances", n)
				}
			}
			made := c.bind("new", "b", bound(brokertest.Retaining, ""), true).want(t, "201")
			if !c.Backend.Works([]byte(made.credentials)) {
				t.Error("its credentials do not work")
			}
			c.update("new", domain.UpdateDetails{RawParameters: []byte(`{"colour": "green"}`)}, true).want(t, "200")
			if colour, _ := c.Backend.Colour("i"); colour != "green" { // its resource is the one that i had
				t.Errorf("it is %q", colour)
			}
			if _, ok := c.Backend.Colour("new"); ok {
				t.Error("the empty resource is there still")
			}
			// The first ID is free, and does not lead to what is restored.
			c.provision("i", on(brokertest.Retaining), true).want(t, "201")
			if n, _ := c.Backend.Size(); n != 2 {
				t.Errorf("the backend has %d instances", n)
			}
			c.deprovision("new", true).want(t, "200")
			if again := c.retained(t, "new"); len(again) != 1 || again[0].ResourceKey() != "i" {
				t.Errorf("retained again: %+v", again)
			}
		})
	}
}

// An instance that lags behind its plan's maintenance version is brought there:
// its platform believes it to be there.
func TestRestoreUpgrades(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	retained := deleted(t, c)
	if _, err := c.Store.Pool.Exec(c.ctx, "update instances set maintenance_version = '0.9.0' where id = $1", retained.ID); err != nil {
		t.Fatal(err)
	}
	c.provision("new", on(brokertest.Retaining), true).want(t, "201")
	if err := c.Engine.Restore(c.ctx, operation.Restoration{RetainedID: retained.ID, NewID: "new"}); err != nil {
		t.Fatal(err)
	}
	op, err := c.Store.LastOperation(c.ctx, c.Store.Pool, store.LastOperationParams{InstanceID: "new"})
	if err != nil || op.Kind != store.Update {
		t.Fatalf("the last operation is %s: %v", op.Kind, err)
	}
	if op = c.AwaitOperation(t, op.ID); op.State != store.Succeeded {
		t.Fatalf("it is %s: %s", op.State, op.LastError)
	}
	if _, details := c.fetch("new"); details.MaintenanceInfo.Version != "1.0.0" {
		t.Errorf("it is on %q", details.MaintenanceInfo.Version)
	}
}

func TestRestoreRefused(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	retained := deleted(t, c)
	c.provision("bound", on(brokertest.Retaining), true).want(t, "201")
	c.bind("bound", "x", bound(brokertest.Retaining, ""), true).want(t, "201")
	c.provision("other plan", on(brokertest.Small), true).want(t, "201")
	elsewhere := on(brokertest.Retaining)
	elsewhere.OrganizationGUID = "another"
	c.provision("elsewhere", elsewhere, true).want(t, "201")
	c.as("k8s").provision("other platform", on(brokertest.Retaining), true).want(t, "201")
	for _, r := range []operation.Restoration{
		{RetainedID: retained.ID, NewID: "bound"}, {RetainedID: retained.ID, NewID: "other plan"}, {RetainedID: retained.ID, NewID: "elsewhere"},
		{RetainedID: retained.ID, NewID: "other platform"}, {RetainedID: retained.ID, NewID: retained.ID}, {RetainedID: "bound", NewID: "n"}, {RetainedID: "absent", NewID: "n"},
	} {
		if err := c.Engine.Restore(c.ctx, r); !errors.Is(err, operation.ErrNotRestorable) {
			t.Errorf("%s as %s: %v", r.RetainedID, r.NewID, err)
		}
	}
	if found := c.retained(t, "i"); len(found) != 1 || found[0].Status != store.Retained {
		t.Errorf("retained: %+v", found)
	}
}

// A create that never was ready, or was deleted half-way, has nothing to keep.
func TestNothingToKeep(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Nanosecond})
	gate := brokertest.NewGate()
	c.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb == "provision" {
			return gate.Pass(ctx)
		}
		return nil
	})
	c.provision("i", on(brokertest.Retaining), true).want(t, "202")
	gate.AwaitCall(t)
	if answer := c.deprovision("i", true); answer.operation != "" {
		c.AwaitOperation(t, answer.operation)
	} else { // it ended within the nanosecond
		answer.want(t, "200")
	}
	gate.Open()
	if found := c.retained(t, "i"); len(found) != 0 {
		t.Errorf("retained: %+v", found)
	}
	c.CheckEmpty(t)
}
