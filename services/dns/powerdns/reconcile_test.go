package powerdns

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func keep(t *testing.T, b *backend, inst instance) string {
	t.Helper()
	notes, err := servicetest.Once(b).Reconcile(testContext(t), nil, []instance{inst})
	if err != nil {
		t.Errorf("keep: %v", err)
	}
	return notes[inst.ID].Message
}

// Fewer records or a larger plan allow updates of a zone over quota again.
func TestOverAndBack(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	small := provisioned(t, b, "i", func(i *instance) { i.Plan.Records = 2 })
	c := bound(t, b, small, "b", BindingParams{})
	for i := range 4 {
		if err := update(t, c.signer, c.zone, fmt.Sprintf("r%d.%s 60 IN A 192.0.2.1", i, c.zone)); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(why string) {
		t.Helper()
		if note := keep(t, b, small); !strings.HasPrefix(note, "records: ") {
			t.Errorf("%s: note %q", why, note)
		}
		if c.Ping(ctx) == nil {
			t.Errorf("%s: updates are let in", why)
		}
	}
	letIn := func(why string, inst instance) {
		t.Helper()
		if note := keep(t, b, inst); note != "" {
			t.Errorf("%s: note %q", why, note)
		}
		if err := c.Ping(ctx); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	refused("over")
	second := bindings(t, b, small, "made while over")
	refused("after a bind")
	if err := servicetest.Once(b).Provision(ctx, small); err != nil {
		t.Fatal(err)
	}
	refused("after a provision once more")

	large := small
	large.Plan.Records = 10
	letIn("larger plan", large)
	if err := dialled(t, second).Ping(ctx); err != nil {
		t.Errorf("the binding made while over: %v", err)
	}
	refused("back to the small plan")
	if other := server.backend(t); keep(t, other, small) == "" {
		t.Error("another replica does not see it")
	}
	fewer := withRecords(small, zone.Record{Name: "r0", Type: "A", Values: []string{}}, zone.Record{Name: "r1", Type: "A", Values: []string{}})
	if err := servicetest.Once(b).Update(ctx, small, fewer); err != nil {
		t.Fatal(err)
	}
	letIn("fewer records", fewer)
}

// bindings makes a binding without using it.
func bindings(t *testing.T, b *backend, inst instance, id string) map[string]any {
	t.Helper()
	c, err := servicetest.Once(b).Bind(testContext(t), inst, newBinding(t, inst, id, BindingParams{}))
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}

// A change between reading a set and raising its time to live is not undone.
func TestRaiseLosesNoChange(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	inst := provisioned(t, b, "i", nil)
	c := bound(t, b, inst, "b", BindingParams{})
	if err := update(t, c.signer, c.zone, "a."+c.zone+" 5 IN A 192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	sets, err := b.read(ctx, c.zone)
	if err != nil {
		t.Fatal(err)
	}
	_, low := inspect(c.zone, sets, inst.Plan.MinTTL, 2)
	if len(low) != 1 {
		t.Fatalf("below: %v", low)
	}
	m := insertion(t, c.zone, "a."+c.zone+" 5 IN A 192.0.2.2")
	m.RemoveRRset([]dns.RR{insertion(t, c.zone, "a."+c.zone+" 5 IN A 192.0.2.1").Ns[0]})
	slices.Reverse(m.Ns)
	if _, err := c.exchange(ctx, m); err != nil {
		t.Fatal(err)
	}
	if err := b.raise(ctx, inst, c.zone, sets, low); err != nil {
		t.Fatal(err)
	}
	expectValues(t, b, "a."+c.zone, dns.TypeA, "192.0.2.2")
	if note := keep(t, b, inst); note != "" {
		t.Errorf("note: %q", note)
	}
	if got := ask(t, b, "a."+c.zone, dns.TypeA).Answer[0].Header().Ttl; got != 60 {
		t.Errorf("time to live: %d", got)
	}
	if keys, err := b.keys(ctx); err != nil || slices.Contains(keys, b.names.enforcementKey(inst.Name)) {
		t.Errorf("the enforcement key stayed: %v, %v", keys, err)
	}
}
