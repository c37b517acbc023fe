package rgw

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// What an instance costs, beside the calls that it costs at least: to make and delete a user with
// a bucket, and to make and delete a key.
func BenchmarkVerbs(b *testing.B) {
	server, ctx := newServer(b), context.Background()
	backend, api := server.backend(b), server.api(b)
	spent := map[string]time.Duration{}
	timed := func(name string, call func() error) {
		began := time.Now()
		if err := call(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		spent[name] += time.Since(began)
	}
	first := objecttest.NewInstance("first", nil) // the gateway makes its pools
	if err := servicetest.Once(backend).Provision(ctx, first); err != nil {
		b.Fatal(err)
	}
	if err := objecttest.Deprovision(ctx, backend, first); err != nil {
		b.Fatal(err)
	}
	n := 0
	for ; b.Loop(); n++ {
		inst := objecttest.NewInstance(fmt.Sprint(n), nil)
		bd := objecttest.NewBinding(b, inst, "b", access.ReadWrite)
		timed("provision", func() error { return servicetest.Once(backend).Provision(ctx, inst) })
		timed("bind", func() error { _, err := servicetest.Once(backend).Bind(ctx, inst, bd); return err })
		timed("unbind", func() error { return servicetest.Once(backend).Unbind(ctx, inst, bd) })
		timed("deprovision", func() error { return servicetest.Once(backend).Deprovision(ctx, inst) })
		id, s3, yes := server.prefix+"-raw", (*objectstore.Client)(nil), true
		timed("raw-user", func() error {
			u, err := api.CreateUser(ctx, admin.User{ID: id, DisplayName: "x"})
			if err == nil {
				s3 = backend.gateway.as(u.Keys[0])
			}
			return err
		})
		timed("raw-bucket", func() error {
			return s3.Call(ctx, objectstore.Request{Method: "PUT", Bucket: id}, nil)
		})
		timed("raw-key", func() error {
			_, err := api.CreateKey(ctx, admin.UserKeySpec{UID: id, AccessKey: id, GenerateKey: &yes})
			return err
		})
		timed("raw-delete-key", func() error { return api.RemoveKey(ctx, admin.UserKeySpec{UID: id, AccessKey: id}) })
		timed("raw-delete-bucket", func() error { return s3.DeleteBucket(ctx, id) })
		timed("raw-delete-user", func() error { return api.RemoveUser(ctx, admin.User{ID: id}) })
	}
	for name, all := range spent {
		b.ReportMetric(float64(all.Microseconds())/float64(n)/1000, "ms/"+name)
	}
}

// What a copy costs, beside one with minio-go.
func BenchmarkCopy(b *testing.B) {
	server := newServer(b)
	for name, size := range map[string]int{"large": 32 << 20, "small": 64 << 10} {
		b.Run(name, func(b *testing.B) { objecttest.BenchmarkCopy(b, server.backend(b), 64<<20, size) })
	}
}
