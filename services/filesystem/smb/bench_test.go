package smb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// What an instance costs, beside the programs that it costs at least: to write
// and remove a share, and to make and remove a user.
func BenchmarkVerbs(b *testing.B) {
	backend, ctx := newServer(b).backend(b, "c"), context.Background()
	spent := map[string]time.Duration{}
	timed := func(name string, call func() error) {
		began := time.Now()
		if err := finished(b, call); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		spent[name] += time.Since(began)
	}
	n := 0
	for ; b.Loop(); n++ {
		inst := newInstance(fmt.Sprint(n), nil)
		bd := newBinding(b, inst, "b", BindingParams{})
		timed("provision", func() error { return servicetest.Once(backend).Provision(ctx, inst) })
		timed("bind", func() error { _, err := servicetest.Once(backend).Bind(ctx, inst, bd); return err })
		timed("raw-user", func() error {
			return backend.samba.putUser(ctx, backend.names.resource(bd.Name), bd.Seed.Password("smb"))
		})
		timed("raw-remove-user", func() error { return backend.samba.dropUser(ctx, backend.names.resource(bd.Name)) })
		timed("unbind", func() error { return servicetest.Once(backend).Unbind(ctx, inst, bd) })
		timed("deprovision", func() error { return servicetest.Once(backend).Deprovision(ctx, inst) })
		timed("raw-share", func() error { return backend.samba.putShare(ctx, "raw", section{"path": "/nowhere"}) })
		timed("raw-remove-share", func() error { return backend.samba.dropShare(ctx, "raw") })
	}
	for name, all := range spent {
		b.ReportMetric(float64(all.Microseconds())/float64(n)/1000, "ms/"+name)
	}
}
