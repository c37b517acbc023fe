package rabbitmq

import (
	"context"
	"fmt"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// What an instance costs, beside the one call that it costs at least.
func BenchmarkVerbs(b *testing.B) {
	server := newServer(b)
	backend := server.backend(b, "bench")
	ctx := context.Background()
	n := 0
	fresh := func() instance {
		n++
		return newInstance(fmt.Sprintf("bench %d", n), func(i *instance) { i.Plan.QueueSize = 64 << 20 })
	}
	check := func(b *testing.B, err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	// aside keeps the time of what is not measured out of the count.
	aside := func(b *testing.B, work func() error) {
		b.Helper()
		b.StopTimer()
		check(b, work())
		b.StartTimer()
	}
	b.Run("raw PUT vhost", func(b *testing.B) {
		for b.Loop() {
			inst := fresh()
			check(b, backend.api.putVhost(ctx, backend.names.vhost(inst.Name), "", ""))
			aside(b, func() error { return servicetest.Once(backend).Deprovision(ctx, inst) })
		}
	})
	b.Run("provision", func(b *testing.B) {
		for b.Loop() {
			inst := fresh()
			check(b, servicetest.Once(backend).Provision(ctx, inst))
			aside(b, func() error { return servicetest.Once(backend).Deprovision(ctx, inst) })
		}
	})
	inst := fresh()
	check(b, servicetest.Once(backend).Provision(ctx, inst))
	b.Run("bind", func(b *testing.B) {
		for b.Loop() {
			bd := newBinding(b, inst, "b", `{}`)
			_, err := servicetest.Once(backend).Bind(ctx, inst, bd)
			check(b, err)
			aside(b, func() error { return servicetest.Once(backend).Unbind(ctx, inst, bd) })
		}
	})
	b.Run("unbind", func(b *testing.B) {
		for b.Loop() {
			bd := newBinding(b, inst, "b", `{}`)
			aside(b, func() error { _, err := servicetest.Once(backend).Bind(ctx, inst, bd); return err })
			check(b, servicetest.Once(backend).Unbind(ctx, inst, bd))
		}
	})
	check(b, servicetest.Once(backend).Deprovision(ctx, inst))
	b.Run("deprovision", func(b *testing.B) {
		for b.Loop() {
			inst := fresh()
			aside(b, func() error { return servicetest.Once(backend).Provision(ctx, inst) })
			check(b, servicetest.Once(backend).Deprovision(ctx, inst))
		}
	})
}
