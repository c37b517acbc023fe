package smb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"

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

// BenchmarkCopy copies 512 MB of files of 64 kB and of 64 MB, beside tar.
func BenchmarkCopy(b *testing.B) {
	const all = 512 << 20
	for name, size := range map[string]int{"large": 64 << 20, "small": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			backend, ctx := newServer(b).backend(b, "c"), context.Background()
			inst, target := newInstance("i", nil), newInstance("target", func(i *instance) { i.Plan.DeleteContents = true })
			if err := servicetest.Once(backend).Provision(ctx, inst); err != nil {
				b.Fatal(err)
			}
			dir, content := backend.folder.path(backend.names.resource(inst.Name)), make([]byte, size)
			_, _ = rand.Read(content)
			for i := range all / size {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), content, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			rate := func(name string, work func() error) {
				began := time.Now()
				if err := work(); err != nil {
					b.Fatalf("%s: %v", name, err)
				}
				b.ReportMetric(all/1e6/time.Since(began).Seconds(), "MB/s-"+name)
			}
			for b.Loop() {
				var contents services.Contents
				stream, err := os.Create(filepath.Join(b.TempDir(), "stream"))
				if err != nil {
					b.Fatal(err)
				}
				rate("tar", func() error {
					return exec.CommandContext(ctx, "sh", "-c", "tar --xattrs --acls -C \"$1\" -c . > \"$2\"", "tar", dir, filepath.Join(b.TempDir(), "raw")).Run()
				})
				rate("backup", func() (err error) {
					contents, err = backend.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: stream})
					return err
				})
				if _, err := stream.Seek(0, io.SeekStart); err != nil {
					b.Fatal(err)
				}
				if err := finished(b, func() error { return servicetest.Once(backend).Provision(ctx, target) }); err != nil {
					b.Fatal(err)
				}
				rate("restore", func() error {
					_, err := backend.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: target, Contents: contents, Reader: stream})
					return err
				})
				if err := errors.Join(stream.Close(), finished(b, func() error { return servicetest.Once(backend).Deprovision(ctx, target) })); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
