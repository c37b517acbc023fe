package broker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
)

// elapse makes the binding's lifetime end now.
func (c client) elapse(t *testing.T, id string) {
	t.Helper()
	_, err := c.Store.Pool.Exec(context.Background(), "update bindings set expires_at = now() - interval '1 second' where id = $1", id)
	if err != nil {
		t.Fatal(err)
	}
}

// revoked waits until the engine has revoked what elapsed.
func (c client) revoked(t *testing.T, id string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		b, err := c.Store.Binding(context.Background(), c.Store.Pool, id)
		if err != nil {
			t.Fatal(err)
		}
		if b.Status == "expired" {
			return
		}
		if time.Since(began) > 40*time.Second {
			t.Fatalf("the binding is %s", b.Status)
		}
	}
}

func (c client) metadata(t *testing.T, id string) domain.BindingMetadata {
	t.Helper()
	spec, err := c.FetchBinding(c.ctx, "i", id)
	if err != nil {
		t.Fatal(err)
	}
	return spec.Metadata.BindingMetadata
}

// A binding tells its term, the same one whenever it is asked, and its successor
// gets a new one.
func TestTerm(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Expiring), true).want(t, "201")
	began := time.Now()
	made, err := c.Bind(c.ctx, "i", "b", bound(brokertest.Expiring, ""), true)
	if err != nil {
		t.Fatal(err)
	}
	end, err := time.Parse(time.RFC3339, made.Metadata.ExpiresAt)
	if err != nil || end.Before(began.Add(720*time.Hour-2*time.Second)) || end.After(time.Now().Add(720*time.Hour)) {
		t.Errorf("it expires at %q: %v", made.Metadata.ExpiresAt, err)
	}
	if want := end.Add(-168 * time.Hour).Format("2006-01-02T15:04:05.0Z"); made.Metadata.RenewBefore != want {
		t.Errorf("it is to be renewed before %q, not %q", made.Metadata.RenewBefore, want)
	}
	if got := c.metadata(t, "b"); got != made.Metadata.BindingMetadata {
		t.Errorf("fetched: %+v, made: %+v", got, made.Metadata)
	}
	c.provision("j", on(brokertest.Small), true).want(t, "201")
	if other, err := c.Bind(c.ctx, "j", "o", bound(brokertest.Small, ""), true); err != nil || !other.Metadata.IsEmpty() {
		t.Errorf("a binding for good has %+v: %v", other.Metadata, err)
	}
	if _, err := c.Store.Pool.Exec(c.ctx, "update bindings set expires_at = now() + interval '1 minute' where id = 'b'"); err != nil {
		t.Fatal(err)
	}
	c.rotate("i", "c", broker.Rotation{PredecessorID: "b"}).want(t, "201")
	if old, next := c.metadata(t, "b"), c.metadata(t, "c"); next.ExpiresAt < old.ExpiresAt {
		t.Errorf("the successor expires at %s, its predecessor at %s", next.ExpiresAt, old.ExpiresAt)
	}
}

// What elapsed is handed out to nobody from that moment on, revoked by the
// engine, and deleted by the platform when it likes.
func TestExpired(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Expiring), true).want(t, "201")
	old := c.bind("i", "b", bound(brokertest.Expiring, `{"role": "read_only"}`), true).want(t, "201")
	other := c.bind("i", "other", bound(brokertest.Expiring, ""), true).want(t, "201")
	c.elapse(t, "b")
	refused := func() {
		t.Helper()
		a := c.bind("i", "b", bound(brokertest.Expiring, `{"role": "read_only"}`), true).want(t, "Conflict")
		if !strings.Contains(a.text(), "expired at 2") || !strings.Contains(a.text(), "predecessor") {
			t.Errorf("the answer is %q", a.text())
		}
		if a := c.fetchBinding("i", "b").want(t, "NotFound"); !strings.Contains(a.text(), "expired at 2") {
			t.Errorf("the answer is %q", a.text())
		}
	}
	refused()
	c.revoked(t, "b")
	refused()
	if c.Backend.Works([]byte(old.credentials)) || !c.Backend.Works([]byte(other.credentials)) {
		t.Error("not exactly what expired is revoked")
	}
	if n := c.Memory.Len(); n != 2 {
		t.Errorf("%d secrets are stored", n)
	}
	if state, _ := c.poll("i", "b", ""); state != "succeeded" {
		t.Errorf("the bind that nobody polled is %s", state)
	}
	var accepted, succeeded int
	err := c.Store.Pool.QueryRow(c.ctx, `select count(*) filter (where event = 'accepted'), count(*) filter (where event = 'succeeded')
		from audit where action = 'expire' and binding_id = 'b' and platform = 'cf'`).Scan(&accepted, &succeeded)
	if err != nil || accepted != 1 || succeeded != 1 {
		t.Errorf("%d and %d audit records: %v", accepted, succeeded, err)
	}

	// It blocks nothing, its late successor included.
	c.rotate("i", "next", broker.Rotation{PredecessorID: "b"}).want(t, "201")
	c.update("i", domain.UpdateDetails{RawParameters: []byte(`{"colour": "blue"}`)}, true).want(t, "200")
	c.deprovision("i", true).want(t, "Unsupported")
	c.unbind("i", "b", true).want(t, "200")
	c.unbind("i", "b", true).want(t, "Gone")
	c.unbind("i", "other", true).want(t, "200")
	c.unbind("i", "next", true).want(t, "200")
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

// A platform's delete goes before the engine's own revocation.
func TestDeletedWhileItExpires(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Expiring), true).want(t, "201")
	c.bind("i", "b", bound(brokertest.Expiring, ""), true).want(t, "201")
	gate := brokertest.NewGate()
	first := make(chan struct{}, 1)
	first <- struct{}{}
	c.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		select {
		case <-first:
			return gate.Pass(ctx)
		default:
			return nil
		}
	})
	c.elapse(t, "b")
	gate.AwaitCall(t)
	c.bind("i", "b", bound(brokertest.Expiring, ""), true).want(t, "Conflict")
	c.unbind("i", "b", false).want(t, "200")
	gate.Open()
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

// A backend that does not revoke is asked again, after a rest, and the
// credentials are handed out to nobody meanwhile.
func TestExpiryFails(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Expiring), true).want(t, "201")
	c.bind("i", "b", bound(brokertest.Expiring, ""), true).want(t, "201")
	c.elapse(t, "b")
	_, err := c.Store.Pool.Exec(c.ctx, `insert into operations (id, kind, platform, instance_id, binding_id, service_id, plan_id, state, outcome, deadline, finished_at)
		values ('failed', 'expire', 'cf', 'i', 'b', 's', 'p', 'failed', 'timed_out', now(), now() - interval '9 minutes')`)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second) // more than a round of the sweeper
	c.fetchBinding("i", "b").want(t, "NotFound")
	b, err := c.Store.Binding(c.ctx, c.Store.Pool, "b")
	if err != nil || b.Status != "ready" {
		t.Fatalf("it is %s: %v", b.Status, err)
	}
	if _, err := c.Store.Pool.Exec(c.ctx, "update operations set finished_at = now() - interval '11 minutes' where id = 'failed'"); err != nil {
		t.Fatal(err)
	}
	c.revoked(t, "b")
}

// A binding under the ID of one that expired a moment ago expires like any other.
func TestExpiresAgain(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Expiring), true).want(t, "201")
	for range 2 {
		c.bind("i", "b", bound(brokertest.Expiring, ""), true).want(t, "201")
		c.elapse(t, "b")
		c.revoked(t, "b")
		c.unbind("i", "b", true).want(t, "200")
	}
}
