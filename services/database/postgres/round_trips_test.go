package postgres

import (
	"context"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A verb's cost is the number of calls that it makes one after the other on an open connection.
func TestRoundTrips(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	proxy := servicetest.NewProxy(t, server.admin.Host)
	config, err := services.Decode[Config](server.proxied(proxy.Address(), "trips"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if _, err := servicetest.Once(b).Reconcile(ctx, []Plan{{Spares: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	inst := newInstance("i", nil)
	bd := newBinding(t, inst, "b", access.ReadWrite)
	for _, verb := range []struct {
		name string
		most int
		call func() error
	}{
		{"provision with a spare", 2, func() error { return servicetest.Once(b).Provision(ctx, inst) }},
		{"bind", 2, func() error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err }},
		{"unbind", 6, func() error { return servicetest.Once(b).Unbind(ctx, inst, bd) }},
		{"deprovision", 7, func() error { return servicetest.Once(b).Deprovision(ctx, inst) }},
		{"provision", 3, func() error { return servicetest.Once(b).Provision(ctx, inst) }},
		{"deprovision again", 7, func() error { return servicetest.Once(b).Deprovision(ctx, inst) }},
	} {
		proxy.Arm(0, servicetest.Before) // counts, and cuts nowhere
		if err := verb.call(); err != nil {
			t.Fatalf("%s: %v", verb.name, err)
		}
		if calls := proxy.Calls(); calls > verb.most {
			t.Errorf("%s: %d round trips, not %d", verb.name, calls, verb.most)
		}
	}
}
