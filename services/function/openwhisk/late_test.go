package openwhisk

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// A request that a call has abandoned must not take effect after a later call that undoes
// it has returned: the network may deliver the request at any time.
func TestLateRequests(t *testing.T) {
	server := newServer(t)
	inst := testInstance(t, `{}`)
	other := instance{ID: "late", Name: services.InstanceName("late"), Plan: inst.Plan}
	bd := testBinding(t, "late")
	for _, test := range []struct {
		name        string
		late, undo  func(context.Context, *backend) error
		count, left string
	}{
		{"provision",
			func(ctx context.Context, b *backend) error { return servicetest.Once(b).Provision(ctx, other) },
			func(ctx context.Context, b *backend) error { return servicetest.Once(b).Deprovision(ctx, other) },
			"select count(*) from functions.namespaces where name = $1", other.Name},
		{"bind",
			func(ctx context.Context, b *backend) error {
				_, err := servicetest.Once(b).Bind(ctx, inst, bd)
				return err
			},
			func(ctx context.Context, b *backend) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
			"select count(*) from functions.keys where binding = $1", bd.Name},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy := servicetest.NewProxy(t, server.address(t))
			late := server.openAt(t, proxy.Address())
			// Everything was done once, so that each call is as short as it gets.
			if err := servicetest.Once(late).Provision(t.Context(), inst); err != nil {
				t.Fatal(err)
			}
			if _, err := servicetest.Once(late).Bind(t.Context(), inst, testBinding(t, "first "+test.name)); err != nil {
				t.Fatal(err)
			}
			proxy.Freeze()
			impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if err := test.late(impatient, late); err == nil {
				t.Fatal("the proxy held nothing back")
			}
			if err := test.undo(t.Context(), server.open(t)); err != nil {
				t.Fatal(err)
			}
			proxy.Thaw()
			_ = late.Close()
			proxy.Drain() // the runtime has received all of it, and answered
			conn, err := pgx.Connect(t.Context(), server.database)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			var n int
			if err := conn.QueryRow(t.Context(), test.count, test.left).Scan(&n); err != nil || n != 0 {
				t.Errorf("the abandoned request took effect: %d, %v", n, err)
			}
		})
	}
}
