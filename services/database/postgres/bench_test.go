package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The cost of an instance, compared with that of the bare statement. TestRoundTrips counts
// the calls to the server.
func BenchmarkVerbs(b *testing.B) {
	server := newServer(b)
	backend := server.backend(b, "bench")
	ctx := context.Background()
	n := 0
	fresh := func() instance { n++; return newInstance(fmt.Sprintf("bench %d", n), nil) }
	check := func(b *testing.B, err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("raw CREATE DATABASE", func(b *testing.B) {
		for b.Loop() {
			check(b, backend.execute(ctx, "CREATE DATABASE bench_raw TEMPLATE template0"))
			b.StopTimer()
			check(b, backend.execute(ctx, "DROP DATABASE bench_raw"))
			b.StartTimer()
		}
	})
	for _, spares := range []int{0, 1} {
		b.Run(fmt.Sprintf("provision with %d spares", spares), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				_, err := servicetest.Once(backend).Reconcile(ctx, []Plan{{Spares: spares}}, nil)
				check(b, err)
				inst := fresh()
				b.StartTimer()
				check(b, servicetest.Once(backend).Provision(ctx, inst))
				b.StopTimer()
				check(b, servicetest.Patient(backend).Deprovision(ctx, inst))
				b.StartTimer()
			}
		})
	}
	inst := fresh()
	check(b, servicetest.Once(backend).Provision(ctx, inst))
	b.Run("bind", func(b *testing.B) {
		for b.Loop() {
			bd := newBinding(b, inst, "b", access.ReadWrite)
			_, err := servicetest.Once(backend).Bind(ctx, inst, bd)
			check(b, err)
			b.StopTimer()
			check(b, servicetest.Patient(backend).Unbind(ctx, inst, bd))
			b.StartTimer()
		}
	})
	b.Run("unbind", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			bd := newBinding(b, inst, "b", access.ReadWrite)
			_, err := servicetest.Once(backend).Bind(ctx, inst, bd)
			check(b, err)
			b.StartTimer()
			check(b, servicetest.Patient(backend).Unbind(ctx, inst, bd))
		}
	})
	check(b, servicetest.Patient(backend).Deprovision(ctx, inst))
	b.Run("deprovision", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			inst := fresh()
			check(b, servicetest.Once(backend).Provision(ctx, inst))
			b.StartTimer()
			check(b, servicetest.Patient(backend).Deprovision(ctx, inst))
		}
	})
	_, err := servicetest.Once(backend).Reconcile(ctx, nil, nil)
	check(b, err)
}
