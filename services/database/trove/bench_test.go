package trove

import (
	"context"
	"fmt"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The cost of the verbs, compared with that of Trove's own calls. A server takes seconds to make,
// so that run it with -benchtime 3x.
func BenchmarkVerbs(b *testing.B) {
	cloud := newCloud(b)
	backend := cloud.backend(b, nil)
	ctx := context.Background()
	check := func(b *testing.B, err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	inst := provisioned(b, backend, nil)
	at, s := lookup(b, backend, inst)
	b.Run("raw instance", func(b *testing.B) {
		for b.Loop() {
			made := waited(b, at, at.byHand(b, "raw", inst.Plan))
			b.StopTimer()
			check(b, at.delete(ctx, made.ID))
			b.StartTimer()
		}
	})
	b.Run("provision", func(b *testing.B) {
		for b.Loop() {
			fresh := newInstance(b, "fresh")
			check(b, servicetest.Patient(backend).Provision(ctx, fresh))
			b.StopTimer()
			check(b, servicetest.Patient(backend).Deprovision(ctx, fresh))
			b.StartTimer()
		}
	})
	n := 0
	b.Run("raw user", func(b *testing.B) {
		for b.Loop() {
			n++
			check(b, at.createUser(ctx, s.ID, fmt.Sprintf("raw%d", n), services.NewSecret("raw-password"), databaseName(inst.Name)))
		}
	})
	b.Run("bind", func(b *testing.B) {
		for b.Loop() {
			n++
			_, err := servicetest.Once(backend).Bind(ctx, inst, newBinding(b, inst, fmt.Sprint(n)))
			check(b, err)
		}
	})
	b.Run("raw deletion of a user", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			n++
			name := fmt.Sprintf("raw%d", n)
			check(b, at.createUser(ctx, s.ID, name, services.NewSecret("raw-password")))
			b.StartTimer()
			check(b, at.deleteUser(ctx, s.ID, name))
		}
	})
	b.Run("unbind", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			n++
			bd := newBinding(b, inst, fmt.Sprint(n))
			_, err := servicetest.Once(backend).Bind(ctx, inst, bd)
			check(b, err)
			b.StartTimer()
			check(b, servicetest.Patient(backend).Unbind(ctx, inst, bd))
		}
	})
}
