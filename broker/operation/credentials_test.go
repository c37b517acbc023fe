package operation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// A credential store that fails at any one point, before or after doing what it
// was asked, is tried again: the bind and the unbind end right, and what the
// backend was given before is what works in the end.
func TestCredentialStoreFails(t *testing.T) {
	points := []string{"ensure seed", "put credentials", "delete credentials", "delete seed"}
	for _, point := range points {
		for _, after := range []bool{false, true} {
			name := point + map[bool]string{false: ", before", true: ", after doing it"}[after]
			t.Run(name, func(t *testing.T) {
				h := soon(t)
				done(t, h, provision(t, h, "i", brokertest.Small, ""))
				var times atomic.Int32
				fail := func(verb string, path credhub.Path) error {
					leaf := path.String()[strings.LastIndex(path.String(), "/")+1:]
					if verb+" "+leaf == point && times.Add(1) <= 2 {
						return errors.New("sealed")
					}
					return nil
				}
				if after {
					h.Memory.Hooks(nil, fail)
				} else {
					h.Memory.Hooks(fail, nil)
				}
				id := bind(t, h, "i", "b", brokertest.Small)
				done(t, h, id)
				made := credentials(t, h, "i", "b")
				if !h.Backend.Works(made) {
					t.Error("the credentials do not work")
				}
				done(t, h, unbind(t, h, "i", "b"))
				if h.Backend.Works(made) {
					t.Error("the revoked credentials work")
				}
				if n := times.Load(); n < 3 {
					t.Errorf("the store was asked %d times at this point", n)
				}
				if left := h.Memory.Paths(); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// While the credential store is down binds wait for it, and the backend is not
// touched: what it would make could not be remembered.
func TestCredentialStoreDown(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	asked := make(chan struct{}, 1000)
	h.Memory.Hooks(func(string, credhub.Path) error { asked <- struct{}{}; return errors.New("sealed") }, nil)
	id := bind(t, h, "i", "b", brokertest.Small)
	for range 3 {
		<-asked
	}
	if calls := strings.Join(h.Backend.Calls(), " "); strings.Contains(calls, "bind") {
		t.Errorf("calls: %s", calls)
	}
	poll, err := h.Poll(brokertest.CallerContext(), "i", "b", "")
	if err != nil || poll.State != store.InProgress || poll.Description == "" {
		t.Errorf("poll: %+v, %v", poll, err)
	}
	h.Memory.Hooks(nil, nil)
	done(t, h, id)
	if !h.Backend.Works(credentials(t, h, "i", "b")) {
		t.Error("the credentials do not work")
	}
}

// Where the store stays down to the deadline, the bind fails and what it made
// is removed at the backend; what may be in the store is known to be left.
func TestCredentialStoreGone(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Short, ""))
	h.Memory.Hooks(func(verb string, _ credhub.Path) error {
		if verb == "ensure" {
			return nil
		}
		return errors.New("sealed")
	}, nil)
	op := h.AwaitOperation(t, bind(t, h, "i", "b", brokertest.Short))
	if op.State != "failed" || op.Usable {
		t.Errorf("ended as %s, %s, usable %v", op.State, op.Outcome, op.Usable)
	}
	if _, bindings := h.Backend.Size(); bindings != 0 {
		t.Error("a credential works that nobody knows")
	}
	h.Memory.Hooks(nil, nil)
	done(t, h, unbind(t, h, "i", "b"))
	done(t, h, deprovision(t, h, "i"))
	h.CheckEmpty(t)
}

// A bind that is repeated after a crash at any point makes the same credential.
func TestBindRepeatsItself(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	var passwords []string
	h.Backend.AfterCall(func(_ context.Context, verb, _, password string) error {
		if verb != "bind" {
			return nil
		}
		if passwords = append(passwords, password); len(passwords) < 4 {
			return fmt.Errorf("crash %d", len(passwords))
		}
		return nil
	})
	done(t, h, bind(t, h, "i", "b", brokertest.Small))
	for _, p := range passwords {
		if p != passwords[0] {
			t.Fatal("another password at another attempt")
		}
	}
	if !strings.Contains(string(credentials(t, h, "i", "b")), passwords[0]) {
		t.Error("the application is given another password")
	}
}
