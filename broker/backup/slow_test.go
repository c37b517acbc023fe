package backup_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/backup"
)

// trickling is a handler whose answers' bodies arrive byte by byte, and end never.
type trickling struct {
	http.ResponseWriter
	r *http.Request
}

func (t trickling) Write(p []byte) (int, error) {
	for n := range p {
		select {
		case <-t.r.Context().Done():
			return n, t.r.Context().Err()
		case <-time.After(100 * time.Millisecond):
		}
		if _, err := t.ResponseWriter.Write(p[n : n+1]); err != nil {
			return n, err
		}
		t.ResponseWriter.(http.Flusher).Flush()
	}
	return len(p), nil
}

// describing is the manifest of what was stored as backup 1.
func describing(t *testing.T, stored backup.Stored) backup.Manifest {
	m := manifest(t, "1")
	m.Stored = stored
	return m
}

// A store that answers byte by byte, or takes an upload byte by byte, or never answers, is given up in
// time.
func TestSlowStore(t *testing.T) {
	s := newStore(t)
	name := backup.Name(instance, "1")
	stored := s.write(t, name, random(1<<20))
	if err := s.PutManifest(t.Context(), describing(t, stored)); err != nil {
		t.Fatal(err)
	}
	for how, change := range map[string]func(http.Handler) http.Handler{
		"trickles": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(trickling{w, r}, r) })
		},
		"takes no request": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	} {
		o := s.behind(t, change)
		o.SetPatience(500 * time.Millisecond)
		for call, do := range map[string]func(context.Context) error{
			"check":    func(ctx context.Context) error { return o.Check(ctx, stored) },
			"read":     func(ctx context.Context) error { _, err := readFrom(ctx, o, stored, s.key); return err },
			"manifest": func(ctx context.Context) error { _, err := o.Manifest(ctx, name); return err },
			"delete":   func(ctx context.Context) error { return o.Delete(ctx, backup.Name(instance, "absent")) },
			"write": func(ctx context.Context) error {
				_, err := o.Write(ctx, backup.Name(instance, "2"), s.recipients(), 0, nil, copies(random(40<<20)))
				return err
			},
		} {
			if how == "trickles" && (call == "write" || call == "delete") {
				continue // their answers have few bytes
			}
			t.Run(how+"/"+call, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				err := do(t.Context())
				if err == nil {
					t.Error("it did not fail")
				}
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it took %s: %v", took, err)
				}
				t.Logf("%s: %v", time.Since(began).Round(time.Millisecond), err)
			})
		}
	}
}

// A restore may pause for longer than the store may: only the time of the store counts.
func TestReaderMayPause(t *testing.T) {
	s := newStore(t)
	content := random(8 << 20)
	stored := s.write(t, backup.Name(instance, "1"), content)
	s.SetPatience(time.Second)
	got := 0
	err := s.Read(t.Context(), s.key, stored, nil, func(_ context.Context, r io.Reader) error {
		for block := make([]byte, 1<<20); ; time.Sleep(300 * time.Millisecond) {
			n, err := io.ReadFull(r, block)
			got += n
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	if err != nil || got != len(content) {
		t.Errorf("%d of %d bytes: %v", got, len(content), err)
	}
}
