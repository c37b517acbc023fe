package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
)

// forget prunes every operation that ended.
func (c client) forget(t *testing.T) {
	t.Helper()
	before := time.Now().Add(time.Hour)
	if _, err := c.Store.PruneOperations(context.Background(), c.Store.Pool, store.PruneOperationsParams{Before: &before, Batch: 1000}); err != nil {
		t.Fatal(err)
	}
}

// What a poll answers after the retention time, when operations are forgotten.
func TestPollOfPruned(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("ready", on(brokertest.Small), true).want(t, "201")
	c.bind("ready", "b", bound(brokertest.Small, ""), true).want(t, "201")
	c.bind("ready", "deleted", bound(brokertest.Small, ""), true).want(t, "201")
	c.unbind("ready", "deleted", true).want(t, "200")
	gone := c.provision("deleted", on(brokertest.Small), true).want(t, "201")
	c.deprovision("deleted", true).want(t, "200")
	failing(c, errors.New("away"), "provision", "deprovision left", "bind")
	c.provision("failed", on(brokertest.Short), false).want(t, "Failed")
	c.provision("left", on(brokertest.Short), false).want(t, "Failed")
	c.forget(t)
	tests := []struct {
		name, instance, binding, want string
	}{
		{"ready instance", "ready", "", "succeeded"},
		{"ready binding", "ready", "b", "succeeded"},
		{"deleted instance", "deleted", "", "Gone"},
		{"deleted binding", "ready", "deleted", "Gone"},
		{"failed instance", "failed", "", "failed"},
		{"failed instance that left something", "left", "", "failed"},
		{"unknown instance", "none", "", "NotFound"},
		{"unknown binding", "ready", "none", "NotFound"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, _ := c.poll(test.instance, test.binding, gone.operation); got != test.want {
				t.Errorf("poll: %s, not %s", got, test.want)
			}
		})
	}
	c.provision("left", on(brokertest.Short), true).want(t, "Conflict") // still to be cleaned up
	c.Backend.BeforeCall(nil)
	c.provision("failed", on(brokertest.Small), true).want(t, "201")
	c.deprovision("left", true).want(t, "200")
}

// A process that ends answers those who can poll at once.
func TestDrain(t *testing.T) {
	c := newClient(t, brokertest.Options{NoWork: true, AsyncWait: time.Hour})
	got := make(chan answer)
	go func() { got <- c.provision("i", on(brokertest.Small), true) }()
	c.Drain()
	(<-got).want(t, "202")
	c.bind("i", "b", bound(brokertest.Small, ""), true).want(t, "Concurrency")
}

// A client that cannot poll has what it began undone when it gives up, and
// leaves alone what another client began.
func TestGiveUp(t *testing.T) {
	c := newClient(t, brokertest.Options{AsyncWait: time.Millisecond, SyncWait: 200 * time.Millisecond})
	gate := brokertest.NewGate()
	c.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb == "provision" {
			return gate.Pass(ctx)
		}
		return nil
	})
	theirs := c.provision("theirs", on(brokertest.Small), true).want(t, "202")
	gate.AwaitCall(t)
	c.provision("theirs", on(brokertest.Small), false).want(t, "TimedOut")
	c.provision("mine", on(brokertest.Small), false).want(t, "TimedOut")
	row, err := c.Store.LastOperation(c.ctx, c.Store.Pool, store.LastOperationParams{InstanceID: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if op := c.AwaitOperation(t, row.ID); op.Outcome != store.OutcomeCancelled || op.Description == "" || !op.Usable {
		t.Errorf("ended as %+v", op)
	}
	gate.Open()
	if op := c.AwaitOperation(t, theirs.operation); op.State != store.Succeeded {
		t.Errorf("another client's operation %s: %s", op.State, op.Description)
	}
	c.settled(t, c.provision("mine", on(brokertest.Small), true))
}
