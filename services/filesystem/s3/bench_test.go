package s3

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// What an instance costs, beside the calls that it costs at least: to make and
// delete a bucket, and to make and delete an account.
func BenchmarkVerbs(b *testing.B) {
	backend, ctx := newServer(b).backend(b, "c"), context.Background()
	spent := map[string]time.Duration{}
	timed := func(name string, call func() error) {
		began := time.Now()
		if err := call(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		spent[name] += time.Since(began)
	}
	n := 0
	for ; b.Loop(); n++ {
		inst := newInstance(fmt.Sprint(n), nil)
		bd := newBinding(b, inst, "b", access.ReadWrite)
		timed("provision", func() error { return servicetest.Once(backend).Provision(ctx, inst) })
		timed("bind", func() error { _, err := servicetest.Once(backend).Bind(ctx, inst, bd); return err })
		timed("unbind", func() error { return servicetest.Once(backend).Unbind(ctx, inst, bd) })
		timed("deprovision", func() error { return servicetest.Once(backend).Deprovision(ctx, inst) })
		timed("raw-bucket", func() error { return backend.gateway.createBucket(ctx, "raw") })
		timed("raw-account", func() error { return backend.gateway.putAccount(ctx, "raw", bd.Seed.Password("s3")) })
		timed("raw-delete-account", func() error { return backend.gateway.deleteAccount(ctx, "raw") })
		timed("raw-delete-bucket", func() error { return backend.gateway.DeleteBucket(ctx, "raw") })
	}
	for name, all := range spent {
		b.ReportMetric(float64(all.Microseconds())/float64(n)/1000, "ms/"+name)
	}
}

// What a copy costs, beside one with minio-go.
func BenchmarkCopy(b *testing.B) {
	for name, size := range map[string]int{"large": 64 << 20, "small": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			backend := newServer(b).backend(b, "c")
			objecttest.BenchmarkCopy(b, sharedBackend{backend}, 256<<20, size)
		})
	}
}
