package broker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// verbs sends one request of each kind to an instance and its bindings: i+"b"
// exists, i+"new" does not.
func verbs(c client, i string) map[string]func() answer {
	return map[string]func() answer{
		"provision":   func() answer { return c.provision(i, on(brokertest.Cascading), true) },
		"update":      func() answer { return c.update(i, updateTo("", `{"colour": "red"}`), true) },
		"deprovision": func() answer { return c.deprovision(i, true) },
		"bind":        func() answer { return c.bind(i, i+"new", bound(brokertest.Cascading, ""), true) },
		"bind again":  func() answer { return c.bind(i, i+"b", bound(brokertest.Cascading, ""), true) },
		"unbind":      func() answer { return c.unbind(i, i+"b", true) },
		"fetch":       func() answer { a, _ := c.fetch(i); return a },
		"get binding": func() answer { return c.fetchBinding(i, i+"b") },
	}
}

// Which request is refused, and how, while another operation is in progress.
// No engine works: what is accepted stays accepted.
func TestConcurrencyMatrix(t *testing.T) {
	const same, refused = "202", "Concurrency"
	tests := map[string]map[string]string{
		"provision": {
			"provision": same, "update": refused, "deprovision": same, "bind": refused, "bind again": refused, "unbind": "Gone",
			"fetch": "NotFound", "get binding": "NotFound",
		},
		"update": {
			"provision": "200", "update": refused, "deprovision": refused, "bind": refused, "bind again": "200", "unbind": refused,
			"fetch": refused, "get binding": "200",
		},
		"deprovision": {
			"provision": refused, "update": refused, "deprovision": same, "bind": refused, "bind again": refused, "unbind": refused,
			"fetch": refused, "get binding": "NotFound",
		},
		"bind": {
			"provision": "200", "update": refused, "deprovision": refused, "bind": same, "bind again": same, "unbind": same,
			"fetch": "200", "get binding": "NotFound",
		},
		"unbind": {
			"provision": "200", "update": refused, "deprovision": refused, "bind": same, "bind again": refused, "unbind": same,
			"fetch": "200", "get binding": "NotFound",
		},
	}
	c := newClient(t, brokertest.Options{NoWork: true, AsyncWait: time.Millisecond})
	for running, row := range tests {
		for verb, want := range row {
			name := running + " in progress, then " + verb
			t.Run(name, func(t *testing.T) {
				c.begin(t, running, name)
				verbs(c, name)[verb]().want(t, want)
			})
		}
	}
}

// begin makes an instance on which, or on whose binding, one operation is in
// progress.
func (c client) begin(t *testing.T, kind, i string) {
	t.Helper()
	accepted := func(a answer) string { return a.want(t, "202").operation }
	made := accepted(c.provision(i, on(brokertest.Cascading), true))
	if kind == "provision" {
		return
	}
	c.assume(t, made, "instances", i)
	bind := accepted(c.bind(i, i+"b", bound(brokertest.Cascading, ""), true))
	if kind == "bind" {
		return
	}
	c.assume(t, bind, "bindings", i+"b")
	if err := c.Memory.Put(c.ctx, credhub.CredentialsPath(i, i+"b"), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "update":
		accepted(c.update(i, updateTo("", `{"colour": "blue"}`), true))
	case "deprovision":
		accepted(c.deprovision(i, true))
	case "unbind":
		accepted(c.unbind(i, i+"b", true))
	}
}

// assume ends an operation in the state as an engine would.
func (c client) assume(t *testing.T, operation, table, id string) {
	t.Helper()
	ctx := context.Background()
	err := c.Store.FinishOperation(ctx, c.Store.Pool, store.FinishOperationParams{
		ID: operation, State: store.Succeeded, Outcome: store.OutcomeSucceeded, Usable: true, Phase: store.PhaseDo,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store.Pool.Exec(ctx, "update "+table+" set status = 'ready' where id = $1", id); err != nil {
		t.Fatal(err)
	}
}

// A platform deletes what it has given up to create. The create may have come so
// far that it is committed a moment later: nobody would delete it then.
func TestDeleteWaitsForACreate(t *testing.T) {
	c := newClient(t, brokertest.Options{NoWork: true, AsyncWait: time.Millisecond})
	c.begin(t, "bind", "i")
	for id, verbs := range map[string][2]func() answer{
		"instance": {
			func() answer { return c.provision("instance", on(brokertest.Cascading), true) },
			func() answer { return c.deprovision("instance", true) },
		},
		"binding": {
			func() answer { return c.bind("i", "binding", bound(brokertest.Cascading, ""), true) },
			func() answer { return c.unbind("i", "binding", true) },
		},
	} {
		t.Run(id, func(t *testing.T) {
			create, remove := make(chan answer, 1), make(chan answer, 1)
			commit := c.beforeOperations(t)
			go func() { create <- verbs[0]() }()
			c.waiting(t, "relation")
			go func() { remove <- verbs[1]() }()
			c.waiting(t, "advisory")
			commit()
			if created := <-create; created.word != "202" {
				created.want(t, "Concurrency") // the delete was faster than the answer
			}
			(<-remove).want(t, "202")
			var outcome store.Outcome
			const query = `select outcome from operations where kind in ('provision', 'bind') and $1 in (instance_id, binding_id)`
			if err := c.Store.Pool.QueryRow(t.Context(), query, id).Scan(&outcome); err != nil || outcome != store.OutcomePreempted {
				t.Errorf("the create ended with %q, %v", outcome, err)
			}
		})
	}
}

// beforeOperations holds up whoever accepts an operation, just before it is
// recorded.
func (c client) beforeOperations(t *testing.T) (release func()) {
	t.Helper()
	tx, err := c.Store.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "lock table operations in share mode"); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
	t.Cleanup(release)
	return release
}

// waiting waits until somebody waits for a lock of the kind.
func (c client) waiting(t *testing.T, kind string) {
	t.Helper()
	const query = `select count(*) from pg_locks where not granted and locktype = $1
		and pid in (select pid from pg_stat_activity where datname = current_database())`
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for n := 0; n == 0; {
		if err := c.Store.Pool.QueryRow(ctx, query, kind).Scan(&n); err != nil {
			t.Fatalf("wait for somebody to wait: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A process that was suspended receives requests whose clients have left, and may have deleted
// meanwhile what these would create. Nothing comes of them, and deletions are carried out.
func TestRequestsOfClientsThatLeft(t *testing.T) {
	c := newClient(t, brokertest.Options{NoWork: true, AsyncWait: time.Millisecond})
	c.begin(t, "bind", "i")
	left := c
	caller := broker.CallerFrom(c.ctx)
	caller.Gone = func() bool { return true }
	left.ctx = broker.WithCaller(c.ctx, caller)
	left.provision("late", on(brokertest.Cascading), true).want(t, "Unavailable")
	left.bind("i", "late", bound(brokertest.Cascading, ""), true).want(t, "Unavailable")
	c.deprovision("late", true).want(t, "Gone")
	c.unbind("i", "late", true).want(t, "Gone")
	left.unbind("i", "ib", true).want(t, "202")
}
