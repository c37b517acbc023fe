package broker_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// byClient is a service key's bind, which names who resolves it.
func byClient(id string) domain.BindDetails {
	d := bound(brokertest.Delivered, "")
	d.AppGUID, d.BindResource = "", &domain.BindResource{CredentialClientID: id}
	return d
}

func forApp(id string) domain.BindDetails {
	d := bound(brokertest.Delivered, "")
	d.AppGUID, d.BindResource = id, nil
	return d
}

// The platform gets a reference and never a secret; what it refers to is there as
// long as the binding is.
func TestDelivered(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Delivered), true).want(t, "201")
	for id, d := range map[string]domain.BindDetails{"app": forApp("a-guid"), "key": byClient("a-client")} {
		made, err := c.Bind(c.ctx, "i", id, d, true)
		if err != nil {
			t.Fatal(err)
		}
		reader := credhub.Reader{AppID: "a-guid", BindingID: id}
		if id == "key" {
			reader = credhub.Reader{ClientID: "a-client", BindingID: id}
		}
		want := "/i/" + id + "/" + reader.AppID + reader.ClientID
		if got, ok := made.Credentials.(map[string]any); !ok || len(got) != 1 || got[credhub.CredHubRef] != want {
			t.Errorf("%s: %v", id, made.Credentials)
		}
		fetched, err := c.FetchBinding(c.ctx, "i", id)
		if got, ok := fetched.Credentials.(map[string]any); err != nil || !ok || got[credhub.CredHubRef] != want {
			t.Errorf("%s: fetched %v, %v", id, fetched.Credentials, err)
		}
		held, err := c.Delivered.Get(c.ctx, brokertest.DeliveredPath(reader))
		if err != nil || !c.Backend.Works(held) {
			t.Errorf("%s: what is delivered does not work: %v", id, err)
		}
	}
	c.rotate("i", "next", broker.Rotation{PredecessorID: "app"}).want(t, "201")
	if n := c.Delivered.Len(); n != 3 {
		t.Errorf("%d are delivered", n)
	}
	for _, id := range []string{"app", "key", "next"} {
		c.unbind("i", id, true).want(t, "200")
	}
	if paths := append(c.Delivered.Paths(), c.Memory.Paths()...); len(paths) > 0 {
		t.Errorf("left: %q", paths)
	}
}

// Where nobody could read, nothing is made.
func TestNobodyToDeliverTo(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", on(brokertest.Delivered), true).want(t, "201")
	a := c.bind("i", "b", forApp(""), true).want(t, "Invalid")
	if !strings.Contains(a.text(), "the binding has no reader") {
		t.Error(a.text())
	}
	if _, bindings := c.Backend.Size(); bindings != 0 || c.Memory.Len() != 0 {
		t.Error("something was made")
	}
}

// An error of the delivery is never taken for success: the bind and the unbind go
// on until it works, whether or not the call before had an effect.
func TestDeliveryFails(t *testing.T) {
	for name, fails := range map[string]func(*brokertest.Harness, func(string, credhub.Path) error){
		"before its effect": func(h *brokertest.Harness, f func(string, credhub.Path) error) { h.Delivered.Hooks(f, nil) },
		"after its effect":  func(h *brokertest.Harness, f func(string, credhub.Path) error) { h.Delivered.Hooks(nil, f) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, brokertest.Options{})
			c.provision("i", on(brokertest.Delivered), true).want(t, "201")
			var calls atomic.Int32
			fails(c.Harness, func(string, credhub.Path) error {
				if calls.Add(1)%3 != 0 {
					return errors.New("the delivery is away")
				}
				return nil
			})
			c.bind("i", "b", forApp("a"), false).want(t, "201")
			if held, err := c.Delivered.Get(c.ctx, brokertest.DeliveredPath(credhub.Reader{AppID: "a", BindingID: "b"})); err != nil && calls.Load() < 3 || err == nil && !c.Backend.Works(held) {
				t.Errorf("%v after %d calls", err, calls.Load())
			}
			c.unbind("i", "b", true).want(t, "200")
			c.Delivered.Hooks(nil, nil)
			if paths := append(c.Delivered.Paths(), c.Memory.Paths()...); len(paths) > 0 {
				t.Errorf("left: %q", paths)
			}
		})
	}
}

// A bind that fails for good leaves nothing delivered.
func TestDeliveryIsUndone(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Nanosecond})
	c.provision("i", on(brokertest.Delivered), false).want(t, "201")
	c.Delivered.Hooks(nil, func(verb string, _ credhub.Path) error {
		if verb == "put" {
			return errors.New("the answer is lost")
		}
		return nil
	})
	op := c.bind("i", "b", forApp("a"), true).want(t, "202").operation
	if err := c.Engine.Cancel(c.ctx, op, "cancelled by the test"); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if state, _ := c.poll("i", "b", op); state == string(store.Failed) {
			break
		} else if time.Since(began) > 30*time.Second {
			t.Fatal(state)
		}
	}
	if paths := append(c.Delivered.Paths(), c.Memory.Paths()...); len(paths) > 0 {
		t.Errorf("left: %q", paths)
	}
}
