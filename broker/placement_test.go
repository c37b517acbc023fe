package broker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// servers counts the instances that each server of the pool was given.
func servers(c client, ids ...string) map[string]int {
	got := map[string]int{}
	for _, id := range ids {
		got[c.Backend.Server(id)]++
	}
	return got
}

// However many ask at once, servers fill evenly up to what they take, a drained
// one not at all, and then it is said, and nothing made.
func TestInstancesArePlaced(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	var (
		ids     = make([]string, 9)
		answers = make([]answer, len(ids))
		asking  sync.WaitGroup
	)
	for i := range answers {
		ids[i] = fmt.Sprintf("i%d", i)
		asking.Go(func() { answers[i] = c.provision(ids[i], on(brokertest.Pooled), true) })
	}
	asking.Wait()
	made := 0
	for _, a := range answers {
		switch a.word {
		case "201", "202":
			made++
		default:
			a.want(t, "Unsupported")
			if !strings.Contains(a.text(), "no server has room for another instance of this plan") {
				t.Errorf("%s", a.text())
			}
		}
	}
	if got := servers(c, ids...); made != 6 || got["one"] != 3 || got["two"] != 3 || got["drained"] != 0 {
		t.Errorf("%d made, on %v", made, got)
	}
	if instances, _ := c.Backend.Size(); instances != 6 {
		t.Errorf("%d instances", instances)
	}
}

// All that is done with an instance is done on its server, and what it took there
// is free when it is gone.
func TestInstancesStayOnTheirServer(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	large := on(brokertest.PooledLarge) // 8 of the 12 kB that a server has
	for _, id := range []string{"a", "b"} {
		c.provision(id, large, true).want(t, "201")
		c.bind(id, "of-"+id, bound(brokertest.PooledLarge, "{}"), true).want(t, "201")
	}
	if got := servers(c, "a", "b"); got["one"] != 1 || got["two"] != 1 {
		t.Fatalf("on %v", got)
	}
	c.provision("c", large, true).want(t, "Unsupported")
	was := c.Backend.Server("a")
	c.unbind("a", "of-a", true).want(t, "200")
	c.deprovision("a", true).want(t, "200")
	c.provision("c", large, true).want(t, "201")
	if got := c.Backend.Server("c"); got != was {
		t.Errorf("on %s, and only %s has room", got, was)
	}
}

// Moving to a larger plan is refused where the server has no room for it, and
// counts from the moment on that it is accepted.
func TestUpdateNeedsRoom(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	for i := range 4 { // two on each server, 4 kB
		c.provision(fmt.Sprint("i", i), on(brokertest.Pooled), true).want(t, "201")
	}
	grow := domain.UpdateDetails{PlanID: brokertest.PooledLarge}
	first := c.Backend.Server("i0")
	c.update("i0", grow, true).want(t, "200") // 10 kB there now
	for i := range 4 {
		if id := fmt.Sprint("i", i); i > 0 && c.Backend.Server(id) == first {
			refused := c.update(id, grow, true).want(t, "Unsupported")
			if !strings.Contains(refused.text(), `has no room for it on plan "pooled-large"`) {
				t.Errorf("%s", refused.text())
			}
			c.update(id, domain.UpdateDetails{PlanID: brokertest.Pooled}, true).want(t, "200")
		}
	}
	c.update("i0", domain.UpdateDetails{PlanID: brokertest.Pooled}, true).want(t, "200")
	c.update("i0", grow, true).want(t, "200")
}

// A server that is away harms its own instances only: new ones go to the others,
// and what its instances need waits for it.
func TestServerAway(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: 5 * time.Second})
	for _, id := range []string{"a", "b"} {
		c.provision(id, on(brokertest.Pooled), true).want(t, "201")
	}
	dead, alive := c.Backend.Server("a"), c.Backend.Server("b")
	if dead == alive {
		t.Fatalf("both are on %s", dead)
	}
	c.Backend.SetUnreachable(dead, true)
	c.await(t, dead, true)
	for _, id := range []string{"c", "d"} {
		c.provision(id, on(brokertest.Pooled), true).want(t, "201")
		if got := c.Backend.Server(id); got != alive {
			t.Errorf("%s is on %s", id, got)
		}
	}
	refused := c.provision("e", on(brokertest.Pooled), true).want(t, "Unavailable")
	if !strings.Contains(refused.text(), "do not answer at the moment; repeat the request later") {
		t.Errorf("%s", refused.text())
	}
	c.bind("b", "of-b", bound(brokertest.Pooled, "{}"), true).want(t, "201")
	waiting := c.bind("a", "of-a", bound(brokertest.Pooled, "{}"), true).want(t, "202")
	c.Backend.SetUnreachable(dead, false)
	if op := c.AwaitOperation(t, waiting.operation); op.State != store.Succeeded {
		t.Errorf("the bind that waited: %s %s", op.State, op.LastError)
	}
	c.await(t, dead, false)
	c.provision("e", on(brokertest.Pooled), true).want(t, "201")
	if got := c.Backend.Server("e"); got != dead {
		t.Errorf("e is on %s", got)
	}
}

// await waits until the broker knows whether a server of the pool is away.
func (c client) await(t *testing.T, server string, away bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		loads, err := c.Placement.Loads(c.ctx, c.Store.Pool, "pool", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range loads {
			if l.Server.Name == server && (l.Unreachable != "") == away {
				return
			}
		}
	}
	t.Fatalf("server %s is not known to be away: %t", server, away)
}

// A create that failed and left nothing is placed anew, on a server that answers.
func TestPlacedAnew(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	fails := true
	c.Backend.BeforeCall(func(_ context.Context, verb, _ string) error {
		if verb == "provision" && fails {
			return services.Rejected("not today")
		}
		return nil
	})
	c.provision("a", on(brokertest.Pooled), true).want(t, "Invalid")
	fails = false
	c.Backend.SetUnreachable("one", true)
	c.await(t, "one", true)
	c.Backend.ForgetServer("a")
	c.provision("a", on(brokertest.Pooled), true).want(t, "201")
	if got := c.Backend.Server("a"); got != "two" {
		t.Errorf("a is on %s", got)
	}
}

// A server is drained, and taken back, while the broker runs.
func TestDrainWithoutRestart(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.Placement.SetDrained("pool/one", true)
	for _, id := range []string{"a", "b", "c"} {
		c.provision(id, on(brokertest.Pooled), true).want(t, "201")
	}
	c.provision("d", on(brokertest.Pooled), true).want(t, "Unsupported")
	c.Placement.SetDrained("pool/one", false)
	c.Placement.SetDrained("pool/two", true)
	c.provision("e", on(brokertest.Pooled), true).want(t, "201")
	if got := servers(c, "a", "b", "c", "e"); got["two"] != 3 || got["one"] != 1 {
		t.Errorf("on %v", got)
	}
	c.bind("a", "b", bound(brokertest.Pooled, "{}"), true).want(t, "201") // a drained server serves what it has
	c.unbind("a", "b", true).want(t, "200")
	c.deprovision("a", true).want(t, "200")
}
