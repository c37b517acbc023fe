package broker_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
)

// failing makes the backend fail some verbs on some IDs with err.
func failing(c client, err error, verbs ...string) {
	c.Backend.BeforeCall(func(_ context.Context, verb, id string) error {
		for _, v := range verbs {
			if v == verb || v == verb+" "+id {
				return err
			}
		}
		return nil
	})
}

// A create that finally fails is cleaned up and stays visible until the
// platform asks for it anew or deletes it.
func TestProvisionFailed(t *testing.T) {
	for _, next := range []string{"put again", "delete", "put something else"} {
		t.Run(next, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			c.Backend.AfterCall(func(_ context.Context, verb, _, _ string) error {
				if verb == "provision" {
					return errors.New("disk full")
				}
				return nil
			})
			a := c.provision("i", on(brokertest.Short), false).want(t, "Failed")
			if strings.Contains(a.text(), "disk full") {
				t.Errorf("the user reads the operator's error: %q", a.text())
			}
			if instances, _ := c.Backend.Size(); instances != 0 {
				t.Error("the backend still has the instance")
			}
			if state, poll := c.poll("i", "", ""); state != "failed" || poll.Description == "" || poll.InstanceUsable != nil {
				t.Errorf("poll: %s %+v", state, poll)
			}
			got, _ := c.fetch("i")
			got.want(t, "NotFound")
			c.bind("i", "b", bound(brokertest.Short, ""), true).want(t, "NotFound")
			c.Backend.AfterCall(nil)
			switch next {
			case "put again":
				c.provision("i", on(brokertest.Short), false).want(t, "201")
			case "put something else":
				c.provision("i", on(brokertest.Large), true).want(t, "201")
			}
			c.deprovision("i", true).want(t, "200")
			c.CheckEmpty(t)
		})
	}
}

// A create whose clean-up fails too is over at the deadline. What it left is
// the delete's: until then nothing can be made in its place.
func TestProvisionNotCleanedUp(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	failing(c, errors.New("away"), "provision", "deprovision")
	c.provision("i", on(brokertest.Short), false).want(t, "Failed")
	if _, poll := c.poll("i", "", ""); !strings.Contains(poll.Description, "delete it") {
		t.Errorf("description %q", poll.Description)
	}
	c.provision("i", on(brokertest.Short), true).want(t, "Conflict")
	c.deprovision("i", false).want(t, "Failed")
	if state, poll := c.poll("i", "", ""); state != "failed" || poll.InstanceUsable == nil || *poll.InstanceUsable || poll.UpdateRepeatable != nil {
		t.Errorf("poll after the failed delete: %s %+v", state, poll)
	}
	c.provision("i", on(brokertest.Short), true).want(t, "Conflict")
	c.update("i", updateTo("", `{"colour": "red"}`), true).want(t, "Unsupported")
	c.bind("i", "b", bound(brokertest.Short, ""), true).want(t, "Unsupported")
	c.Backend.BeforeCall(nil)
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

func TestBindFailed(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Short), true).want(t, "201")
	c.Backend.AfterCall(func(_ context.Context, verb, _, _ string) error {
		if verb == "bind" {
			return errors.New("away")
		}
		return nil
	})
	c.bind("i", "b", bound(brokertest.Short, ""), false).want(t, "Failed")
	if _, bindings := c.Backend.Size(); bindings+c.Memory.Len() != 0 {
		t.Errorf("left behind: %d bindings, secrets %v", bindings, c.Memory.Paths())
	}
	if state, _ := c.poll("i", "b", ""); state != "failed" {
		t.Errorf("poll: %s", state)
	}
	c.fetchBinding("i", "b").want(t, "NotFound")
	c.Backend.AfterCall(nil)
	c.bind("i", "b", bound(brokertest.Short, `{"role": "read_only"}`), true).want(t, "201")
	c.unbind("i", "b", true).want(t, "200")
	c.deprovision("i", true).want(t, "200")
	c.CheckEmpty(t)
}

// An unbind that fails leaves a binding that nobody is given any more and that
// can be deleted again, alone or with its instance.
func TestUnbindFailed(t *testing.T) {
	for _, again := range []string{"unbind", "deprovision"} {
		t.Run(again, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			c.provision("i", on(brokertest.Short), true).want(t, "201")
			c.bind("i", "b", bound(brokertest.Short, ""), true).want(t, "201")
			failing(c, errors.New("away"), "unbind")
			c.unbind("i", "b", false).want(t, "Failed")
			c.fetchBinding("i", "b").want(t, "NotFound")
			c.bind("i", "b", bound(brokertest.Short, ""), true).want(t, "Conflict")
			c.Backend.BeforeCall(nil)
			if again == "unbind" {
				c.unbind("i", "b", true).want(t, "200")
				c.unbind("i", "b", true).want(t, "Gone")
			} else {
				c.deprovision("i", true).want(t, "Unsupported") // its credentials may work
				c.unbind("i", "b", true).want(t, "200")
			}
			c.deprovision("i", true).want(t, "200")
			c.CheckEmpty(t)
		})
	}
}

// An update that fails is taken back by an update in the other direction.
func TestUpdateFailed(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", with(on(brokertest.Short), `{"colour": "red"}`), true).want(t, "201")
	c.Backend.AfterCall(func(_ context.Context, verb, id, _ string) error {
		if colour, _ := c.Backend.Colour(id); verb == "update" && colour == "blue" {
			return errors.New("away")
		}
		return nil
	})
	d := updateTo("", `{"colour": "blue"}`)
	d.RawContext = []byte(`{"instance_name": "new"}`)
	a := c.update("i", d, false).want(t, "Failed")
	if a.err.InstanceUsable == nil || !*a.err.InstanceUsable || a.err.UpdateRepeatable == nil || !*a.err.UpdateRepeatable {
		t.Errorf("usable %v, repeatable %v", a.err.InstanceUsable, a.err.UpdateRepeatable)
	}
	if colour, _ := c.Backend.Colour("i"); colour != "red" {
		t.Errorf("the instance is %s", colour)
	}
	_, details := c.fetch("i")
	row, err := c.Store.Instance(context.Background(), c.Store.Pool, "i")
	if err != nil || string(row.Context) != "{}" {
		t.Errorf("a failed update changed the context to %s (%v)", row.Context, err)
	}
	if got := parameters(t, details.Parameters); got != `{"colour":"red"}` {
		t.Errorf("a failed update changed the parameters to %s", got)
	}
	if status := row.Status; status != store.Ready {
		t.Errorf("the instance is %s", status)
	}
	c.update("i", updateTo("", `{"colour": "green"}`), true).want(t, "200")
}

// An update that could not be taken back either is told, and the next one runs
// even where it would change nothing.
func TestUpdateNotUndone(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", with(on(brokertest.Short), `{"colour": "red"}`), true).want(t, "201")
	c.Backend.AfterCall(func(_ context.Context, verb, _, _ string) error {
		if verb == "update" {
			return errors.New("away")
		}
		return nil
	})
	a := c.update("i", updateTo("", `{"colour": "blue"}`), false).want(t, "Failed")
	if a.err.InstanceUsable == nil || *a.err.InstanceUsable {
		t.Errorf("usable %v", a.err.InstanceUsable)
	}
	c.Backend.AfterCall(nil)
	before := len(c.Backend.Calls())
	c.update("i", updateTo("", `{"colour": "red"}`), true).want(t, "200")
	if len(c.Backend.Calls()) == before {
		t.Error("the update that mends was taken for one without effect")
	}
	if colour, _ := c.Backend.Colour("i"); colour != "red" {
		t.Errorf("the instance is %s", colour)
	}
}
