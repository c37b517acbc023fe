package objecttest

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

// Streamer is a backend that copies buckets.
type Streamer interface {
	Backend
	services.Streamer[objectstore.Plan, objectstore.InstanceParams]
}

// BenchmarkCopy copies so many bytes in objects of one size, a second time on the base of the first
// copy, and restores them. Beside it, it
// reports what minio-go takes that writes the objects to a file, one after the other.
func BenchmarkCopy(b *testing.B, backend Streamer, all, size int) {
	ctx := context.Background()
	deletable := func(i *Instance) { i.Plan.DeleteContents = true }
	inst, target := NewInstance("i", deletable), NewInstance("target", deletable)
	s := filledWith(b, backend, inst, all, size)
	rate := func(name string, work func() error) {
		began := time.Now()
		if err := work(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		b.ReportMetric(float64(all)/1e6/time.Since(began).Seconds(), "MB/s-"+name)
	}
	for b.Loop() {
		rate("raw", func() error { return rawCopy(ctx, s, filepath.Join(b.TempDir(), "raw")) })
		stream, err := os.Create(filepath.Join(b.TempDir(), "stream"))
		if err != nil {
			b.Fatal(err)
		}
		var contents services.Contents
		time.Sleep(unchangedFor)
		rate("backup", func() (err error) {
			contents, err = backend.Backup(ctx, services.BackupRequest[objectstore.Plan, objectstore.InstanceParams]{Instance: inst, Writer: stream})
			return err
		})
		again := new(written)
		rate("again", func() error {
			base := services.BaseCopy{Contents: contents, Read: func(_ context.Context, read func(io.Reader) error) error {
				_, err := stream.Seek(0, io.SeekStart)
				return errors.Join(err, read(stream))
			}}
			second, err := backend.Backup(ctx, services.BackupRequest[objectstore.Plan, objectstore.InstanceParams]{Instance: inst, Writer: again, Base: &base})
			if err == nil && !second.Incremental {
				err = errors.New("the second copy is complete")
			}
			return err
		})
		b.ReportMetric(float64(*again)/1e3, "kB-again")
		_, err = stream.Seek(0, io.SeekStart)
		if err := errors.Join(err, servicetest.Once(backend).Provision(ctx, target)); err != nil {
			b.Fatal(err)
		}
		rate("restore", func() error {
			_, err := backend.Restore(ctx, services.RestoreRequest[objectstore.Plan, objectstore.InstanceParams]{Instance: target, Contents: contents, Reader: stream})
			return err
		})
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		b.ReportMetric(float64(memory.HeapSys)/1e6, "MB-heap")
		if err := errors.Join(stream.Close(), Deprovision(ctx, backend, target)); err != nil {
			b.Fatal(err)
		}
	}
	if err := Deprovision(ctx, backend, inst); err != nil {
		b.Fatal(err)
	}
}

// unchangedFor is how long objects must not have been changed, so that the next copy refers to them.
const unchangedFor = 5 * time.Second

// written counts bytes.
type written int64

// Write implements io.Writer.
func (w *written) Write(p []byte) (int, error) {
	*w += written(len(p))
	return len(p), nil
}

// filledWith makes an instance with objects, and returns a session on it.
func filledWith(b *testing.B, backend Streamer, inst Instance, all, size int) *objectstore.Session {
	b.Helper()
	ctx := context.Background()
	if err := servicetest.Once(backend).Provision(ctx, inst); err != nil {
		b.Fatal(err)
	}
	credentials, err := servicetest.Once(backend).Bind(ctx, inst, NewBinding(b, inst, "b", access.ReadWrite))
	if err != nil {
		b.Fatal(err)
	}
	dialled, err := objectstore.Dial(ctx, credentials.Values)
	if err != nil {
		b.Fatal(err)
	}
	s, content := dialled.(*objectstore.Session), make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	for i := range all / size {
		if _, err := s.Client.PutObject(ctx, s.Bucket, fmt.Sprint(i), bytes.NewReader(content), int64(size), minio.PutObjectOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

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
