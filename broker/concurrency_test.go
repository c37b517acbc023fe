package broker_test

import (
	"context"
	"testing"
	"time"

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
	c := newClient(t, brokertest.Options{Idle: true, AsyncWait: time.Millisecond})
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
	n, err := c.Store.FinishOperation(ctx, c.Store.Pool, store.FinishOperationParams{
		ID: operation, State: store.Succeeded, Outcome: store.Succeeded, Usable: true, Phase: store.Doing,
	})
	if err != nil || n != 1 {
		t.Fatalf("%d operations, %v", n, err)
	}
	if _, err := c.Store.Pool.Exec(ctx, "update "+table+" set status = 'ready' where id = $1", id); err != nil {
		t.Fatal(err)
	}
}
