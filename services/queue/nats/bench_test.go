package nats

import (
	"context"
	"crypto/rand"
	"io"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The throughput of a copy, compared with the snapshot as the server sends it.
func BenchmarkCopy(b *testing.B) {
	const messages, size = 12_800, 8 << 10 // 100 MB
	server := newServer(b, embedded.NATSOptions{})
	backend, ctx := server.backend(b), context.Background()
	large := func(id string) instance {
		inst := newInstance(id, func(p *Plan) { p.Storage = services.Gigabyte })
		succeed(b, servicetest.Patient(backend).Provision(ctx, inst))
		return inst
	}
	source := large("source")
	app := fillForBench(b, backend, source, messages, size)
	_ = app.Close()
	b.Run("raw snapshot", func(b *testing.B) {
		b.SetBytes(messages * size)
		for b.Loop() {
			v, err := backend.visit(ctx, source.Name, 0, snapshotSubject+"S", snapshotAckSubject+"S.>")
			succeed(b, err)
			s, err := v.snapshot(ctx, "S")
			succeed(b, err)
			_, err = io.Copy(io.Discard, s)
			succeed(b, err)
			v.close()
		}
	})
	var contents services.Contents
	backup := func(w io.Writer) {
		var err error
		contents, err = backend.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: source, Writer: w})
		succeed(b, err)
	}
	b.Run("backup", func(b *testing.B) {
		b.SetBytes(messages * size)
		for b.Loop() {
			backup(io.Discard)
		}
	})
	b.Run("backup and restore", func(b *testing.B) {
		b.SetBytes(messages * size)
		for b.Loop() {
			b.StopTimer()
			target := large("target")
			backup(io.Discard)
			b.StartTimer()
			r, w := io.Pipe()
			go func() {
				_, err := backend.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: source, Writer: w})
				_ = w.CloseWithError(err)
			}()
			_, err := backend.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: target, Contents: contents, Reader: r})
			succeed(b, err)
			b.StopTimer()
			succeed(b, servicetest.Patient(backend).Deprovision(ctx, target))
			b.StartTimer()
		}
	})
}

func succeed(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// fillForBench publishes messages of noise, half of which compresses.
func fillForBench(b *testing.B, backend *backend, inst instance, messages, size int) services.Session {
	b.Helper()
	bd := newBinding(b, inst, "b", nil)
	credentials, err := servicetest.Patient(backend).Bind(b.Context(), inst, bd)
	succeed(b, err)
	s, err := dial(b.Context(), credentials.Values)
	succeed(b, err)
	app := s.(*client)
	_, err = app.stream.CreateStream(b.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	succeed(b, err)
	data := make([]byte, size)
	for range messages {
		_, _ = rand.Read(data[:size/2])
		_, err := app.stream.Publish(b.Context(), "s", data)
		succeed(b, err)
	}
	return s
}
