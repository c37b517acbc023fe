package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/services"
)

// A resource whose instance the state has lost becomes another instance's, with what
// is in it, and nobody else's.
func TestAdoptOrphan(t *testing.T) {
	h := soon(t)
	ctx := context.Background()
	forgetRow := func(id string) {
		t.Helper()
		if err := errors.Join(h.Store.DeleteBindingsOfInstance(ctx, h.Store.Pool, id), h.Store.DeleteInstance(ctx, h.Store.Pool, id)); err != nil {
			t.Fatal(err)
		}
	}
	done(t, h, provision(t, h, "lost", brokertest.Small, `{"colour":"red"}`))
	done(t, h, bind(t, h, "lost", "old", brokertest.Small))
	secret := credentials(t, h, "lost", "old")
	forgetRow("lost")
	orphan := services.InstanceName("lost")
	adopt := func(id string, dry bool) error {
		_, err := h.Engine.Adopt(ctx, operation.Adoption{InstanceID: id, Resource: orphan, DryRun: dry, Originating: json.RawMessage(`{"platform":"operator"}`)})
		return err
	}
	refused := func(err error, words string) {
		t.Helper()
		if !errors.Is(err, operation.ErrNotRestorable) || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want it refused because of %q", err, words)
		}
	}

	done(t, h, provision(t, h, "used", brokertest.Small, `{"colour":"blue"}`))
	done(t, h, bind(t, h, "used", "u", brokertest.Small))
	done(t, h, unbind(t, h, "used", "u"))
	refused(adopt("used", false), "was bound before")

	done(t, h, provision(t, h, "new", brokertest.Small, `{"colour":"green"}`))
	before := len(h.Backend.Calls())
	if err := adopt("new", true); err != nil || len(h.Backend.Calls()) != before {
		t.Errorf("a dry run: %v, %v", err, h.Backend.Calls()[before:])
	}
	if err := adopt("new", false); err != nil {
		t.Fatal(err)
	}
	refused(adopt("new", false), "already")
	if !h.Backend.Works(secret) {
		t.Error("the resource was made anew instead of adopted")
	}
	names := map[string]bool{}
	found, err := h.Backend.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Binding == "" {
			names[f.Instance] = true
		}
	}
	if !names[orphan] || names[services.InstanceName("new")] || len(names) != 2 {
		t.Errorf("the backend holds %v", names)
	}
	if n := query[int](t, h, "select count(*) from audit where action = 'adopt' and instance_id = 'new' and resource = $1", orphan); n != 1 {
		t.Errorf("%d records", n)
	}

	// The lost ID may come back, and gets a resource of its own.
	done(t, h, provision(t, h, "lost", brokertest.Small, `{"colour":"black"}`))
	if resource := query[string](t, h, "select resource_id from instances where id = 'lost'"); resource == "" {
		t.Error("two instances have one resource")
	}
	refused(adopt("lost", false), "belongs to instance \"new\"")

	// It is bound, and its deletion takes the adopted resource.
	done(t, h, bind(t, h, "new", "b", brokertest.Small))
	fresh := credentials(t, h, "new", "b")
	if !h.Backend.Works(fresh) {
		t.Error("the binding of the adopted resource does not work")
	}
	done(t, h, unbind(t, h, "new", "b"))
	done(t, h, deprovision(t, h, "new"))
	if h.Backend.Works(secret) {
		t.Error("the adopted resource outlived its instance")
	}
}
