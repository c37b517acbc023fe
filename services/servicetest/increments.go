package servicetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// written is a copy with what it builds on, the newest first.
type written []streamed

type streamed struct {
	stream   []byte
	contents services.Contents
}

// base is the copy as one that another builds on. wrap may damage what is read; nil: nothing.
func (l streamed) base(wrap func(io.Reader) io.Reader) services.BaseCopy {
	return services.BaseCopy{Contents: l.contents, Read: func(_ context.Context, read func(io.Reader) error) error {
		in := io.Reader(bytes.NewReader(l.stream))
		if wrap != nil {
			in = wrap(in)
		}
		return read(in)
	}}
}

func (w written) bases() (bases []services.BaseCopy) {
	for _, l := range w[1:] {
		bases = append(bases, l.base(nil))
	}
	return bases
}

// next copies an instance, on the base of the copy before; nil: in full.
func (h *harness) next(t *testing.T, r *resource, before written) written {
	t.Helper()
	var stream bytes.Buffer
	request := services.RawBackup{Instance: r.raw, Writer: &stream}
	if len(before) > 0 {
		base := before[0].base(nil)
		request.Base = &base
	}
	ctx, cancel := context.WithTimeout(t.Context(), copyTimeout)
	defer cancel()
	contents, err := h.driver.Functions.Backup(ctx, request)
	h.checkError(t, err)
	succeeds(t, "backup", err)
	newest := written{{stream.Bytes(), contents}}
	if !contents.Incremental {
		return newest
	}
	if len(before) == 0 {
		t.Fatal("the copy is incremental, and there is no base")
	}
	return append(newest, before...)
}

// restoreFrom restores a copy on these bases.
func (h *harness) restoreFrom(t *testing.T, r *resource, l streamed, bases []services.BaseCopy) (services.RestoreResult, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), copyTimeout)
	defer cancel()
	result, err := h.driver.Functions.Restore(ctx, services.RawRestore{
		Instance: r.raw, Contents: l.contents, Reader: bytes.NewReader(l.stream), Bases: bases,
	})
	h.checkError(t, err)
	return result, err
}

// testIncrements copies an instance, what changed in it, and that nothing did, and restores all of it.
func testIncrements(t *testing.T, h *harness) {
	if !h.driver.Functions.Increments {
		t.Skip("the backend writes no incremental copies")
	}
	if h.Change == nil {
		t.Fatal("the suite needs Change")
	}
	source := h.filled(t)
	full := h.next(t, source.resource, nil)
	unchanged := h.unchanged(t, source.resource, full)
	expectEqualCounts(t, "an unchanged copy", full[0].contents, unchanged[0].contents)
	source.same = h.Change(t, delivered(t, source.credentials.Values))
	changed := h.next(t, source.resource, unchanged)
	if len(changed) != 3 {
		t.Fatalf("the third copy has %d bases", len(changed)-1)
	}
	_, now := h.copied(t, source.resource)
	expectEqualCounts(t, "an incremental copy", now, changed[0].contents)

	plan := h.Plan
	if h.OtherPlan != nil {
		plan = h.OtherPlan
	}
	target := h.instance(t, freshID(t), plan, h.Create[0])
	succeeds(t, "provision", h.provision(t, target))
	for name, bases := range damagedBases(changed) {
		if _, err := h.restoreFrom(t, target, changed[0], bases); err == nil {
			t.Errorf("restored with %s", name)
		} else {
			notBlamed(t, name, err)
		}
		h.renewed(t, target)
	}
	result, err := h.restoreFrom(t, target, changed[0], changed.bases())
	succeeds(t, "restore", err)
	if result.Digest != now.Digest {
		t.Errorf("the digest of what was restored is %q, want %q", result.Digest, now.Digest)
	}
	h.restored(t, target, source, now)
	succeeds(t, "deprovision the copy", h.deprovision(t, target))
	h.nothingLeft(t, target)
}

// unchangedWithin is how long after a change a copy may still contain what did not change since.
const unchangedWithin = 30 * time.Second

// unchanged copies an instance until the copy is small, because nothing changes.
func (h *harness) unchanged(t *testing.T, r *resource, full written) written {
	t.Helper()
	for end := time.Now().Add(unchangedWithin); ; time.Sleep(time.Second) {
		next := h.next(t, r, full)
		if next[0].contents.Incremental && len(next[0].stream) < len(full[0].stream)/2 {
			return next
		}
		if time.Now().After(end) {
			t.Fatalf("a copy in which nothing changed has %d bytes, and the one before %d", len(next[0].stream), len(full[0].stream))
		}
		full = h.next(t, r, nil)
	}
}

func expectEqualCounts(t *testing.T, what string, want, got services.Contents) {
	t.Helper()
	got.Digest = want.Digest // that of the whole is not known before it is restored
	expectEqual(t, what, want, got)
}

// damagedBases are bases with which a copy cannot be restored.
func damagedBases(w written) map[string][]services.BaseCopy {
	last := len(w) - 1
	with := func(l services.BaseCopy) []services.BaseCopy { return append(w[:last].bases(), l) }
	stream := w[last].stream
	noise := make([]byte, len(stream))
	_, _ = rand.Read(noise)
	foreign := w[last]
	foreign.contents.Format = "foreign-1"
	broken := func(in io.Reader) io.Reader {
		return &triggeredReader{trigger{len(stream)/2 + 1, func() error { return errors.New("the store is away") }}, in}
	}
	return map[string][]services.BaseCopy{
		"no bases":               nil,
		"the oldest missing":     w[:last].bases(),
		"noise":                  with(streamed{noise, w[last].contents}.base(nil)),
		"nothing":                with(streamed{nil, w[last].contents}.base(nil)),
		"half of the oldest":     with(streamed{stream[:len(stream)/2], w[last].contents}.base(nil)),
		"a base of a new format": with(foreign.base(nil)),
		"the store away":         with(w[last].base(broken)),
		"changed in the middle":  with(streamed{flipped(stream), w[last].contents}.base(nil)),
	}
}

func flipped(stream []byte) []byte {
	changed := bytes.Clone(stream)
	changed[len(changed)/2] ^= 1
	return changed
}
