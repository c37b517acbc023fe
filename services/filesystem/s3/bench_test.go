package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
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

// BenchmarkCopy copies 256 MB, beside the same with minio-go: objects of 64 MB, and of 64 kB.
func BenchmarkCopy(b *testing.B) {
	const all = 256 << 20
	for name, size := range map[string]int{"large": 64 << 20, "small": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			backend, ctx := newServer(b).backend(b, "c"), context.Background()
			inst, target := newInstance("i", nil), newInstance("target", deletable)
			if err := servicetest.Once(backend).Provision(ctx, inst); err != nil {
				b.Fatal(err)
			}
			credentials, err := servicetest.Once(backend).Bind(ctx, inst, newBinding(b, inst, "b", access.ReadWrite))
			if err != nil {
				b.Fatal(err)
			}
			dialled, err := objectstore.Dial(ctx, credentials.Values)
			if err != nil {
				b.Fatal(err)
			}
			s := dialled.(*objectstore.Session)
			content := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{}).Read(content)
			for i := range all / size {
				if _, err := s.Client.PutObject(ctx, s.Bucket, fmt.Sprint(i), bytes.NewReader(content), int64(size), minio.PutObjectOptions{}); err != nil {
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
				rate("raw", func() error { return rawCopy(ctx, s, filepath.Join(b.TempDir(), "raw")) })
				rate("backup", func() (err error) {
					contents, err = backend.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: stream})
					return err
				})
				if _, err := stream.Seek(0, io.SeekStart); err != nil {
					b.Fatal(err)
				}
				if err := servicetest.Once(backend).Provision(ctx, target); err != nil {
					b.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				rate("restore", func() error {
					_, err := backend.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: target, Contents: contents, Reader: stream})
					return err
				})
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapSys-min(before.HeapSys, after.HeapSys))/1e6, "MB-restore-heap")
			}
		})
	}
}

// rawCopy reads all objects into a file, one after the other.
func rawCopy(ctx context.Context, s *objectstore.Session, name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	for o := range s.Client.ListObjects(ctx, s.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
		content, err := s.Client.GetObject(ctx, s.Bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		if _, err := io.Copy(file, content); err != nil {
			return err
		}
		_ = content.Close()
	}
	return errors.Join(file.Close(), os.Remove(name))
}
