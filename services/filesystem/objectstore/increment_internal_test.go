package objectstore

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// baseOf is a copy with references to so many objects, which is written while it is read.
func baseOf(objects int) services.BaseCopy {
	return services.BaseCopy{
		Contents: services.Contents{Format: copyFormat, Incremental: true, Details: json.RawMessage(`{"began": "2026-01-02T03:04:05Z"}`)},
		Read: func(_ context.Context, read func(io.Reader) error) error {
			in, out := io.Pipe()
			defer func() { _ = in.Close() }()
			go func() {
				a := &archive{tar: tar.NewWriter(out)}
				for i := range objects {
					at := attributes{key: fmt.Sprintf("folder/%d/file", i), etag: fmt.Sprint(i), size: 5}
					line, err := json.Marshal(reference{at.key, at.size, at.state()})
					if err == nil {
						a.unchanged.next.Write(append(line, '\n'))
					}
					if err == nil && a.unchanged.next.Len() > referencesSize {
						err = a.flush()
					}
					if err != nil {
						out.CloseWithError(err)
						return
					}
				}
				out.CloseWithError(errors.Join(a.flush(), a.tar.Close()))
			}()
			return read(in)
		},
	}
}

// The states of a million objects take less than 100 MB.
func TestMemoryOfStates(t *testing.T) {
	const objects, most = 300_000, 100 // bytes each
	used := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, base := used(), baseOf(objects)
	found, err := statesOf(t.Context(), &base)
	if err != nil || len(found) != objects {
		t.Fatalf("%d states, %v", len(found), err)
	}
	if each := (used() - before) / objects; each > most {
		t.Errorf("a state takes %d bytes, want at most %d", each, most)
	}
	runtime.KeepAlive(found)
}

// A copy of an older release, or of a gateway that does not say its time, is no base.
func TestBasesThatAreNone(t *testing.T) {
	for name, change := range map[string]func(*services.Contents){
		"no details": func(c *services.Contents) { c.Details = nil },
		"no time":    func(c *services.Contents) { c.Details = json.RawMessage(`{}`) },
		"a format":   func(c *services.Contents) { c.Format = "bucket-9" },
		"noise":      func(c *services.Contents) { c.Details = json.RawMessage(`[]`) },
	} {
		base := baseOf(1)
		change(&base.Contents)
		if found, err := statesOf(t.Context(), &base); err != nil || len(found) != 0 {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

// Everything that makes another object of it makes another state.
func TestStates(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Format("Mon, 02 Jan 2006 15:04:05 GMT")
	object := func() attributes {
		return attributes{key: "k", size: 1, etag: `"e"`, modified: now, tags: "a=b", header: map[string]string{"content-type": "text/plain"}}
	}
	a := object()
	want := a.state()
	for name, change := range map[string]func(*attributes){
		"key":      func(a *attributes) { a.key = "kk" },
		"size":     func(a *attributes) { a.size = 2 },
		"etag":     func(a *attributes) { a.etag = "" },
		"modified": func(a *attributes) { a.modified = strings.Replace(now, ":05", ":06", 1) },
		"tags":     func(a *attributes) { a.tags = "a=c" },
		"header":   func(a *attributes) { a.header["x-amz-meta-a"] = "b" },
		"fields":   func(a *attributes) { a.key, a.tags = "k1", "a=" },
	} {
		b := object()
		change(&b)
		if b.state() == want {
			t.Errorf("%s: the state is the same", name)
		}
	}
	at, _ := time.Parse(time.RFC3339, "2026-01-02T03:04:05Z")
	if a.changedBefore(at) || !a.changedBefore(at.Add(time.Second)) || (attributes{}).changedBefore(at) {
		t.Error("changedBefore")
	}
}

// What is no entry with references is refused.
func TestDamagedReferences(t *testing.T) {
	for _, text := range []string{`{"key": "a", "size": -1, "state": "AAAAAAAAAAAAAAAAAAAAAA"}`, `{"key": "a", "size": 1, "state": "AAAA"}`, `{"state": "é"}`, `noise`, `{"size": 1`} {
		err := eachReference(&tar.Header{Name: "unchanged/1", Size: int64(len(text))}, strings.NewReader(text), func(reference) error { return nil })
		if err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	if err := eachReference(&tar.Header{Size: maxReferences + 1}, nil, nil); err == nil {
		t.Error("too many were accepted")
	}
}
