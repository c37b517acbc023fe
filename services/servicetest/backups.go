package servicetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

// copyTimeout is how long a copy of the suite's small instances may take.
const copyTimeout = 2 * time.Minute

// testBackups copies instances to a stream and back into others.
func testBackups(t *testing.T, h *harness) {
	if h.driver.Functions.Backup == nil {
		t.Skip("the backend copies no instances")
	}
	if h.Fill == nil {
		t.Fatal("the suite needs Fill")
	}
	t.Run("round trip", func(t *testing.T) { testRoundTrip(t, h) })
	t.Run("other verbs meanwhile", func(t *testing.T) { testVerbsMeanwhile(t, h) })
	t.Run("damaged", func(t *testing.T) { testDamagedCopy(t, h) })
	t.Run("backup interrupted", func(t *testing.T) { testInterruptedBackup(t, h) })
	t.Run("restore interrupted", func(t *testing.T) { testInterruptedRestore(t, h) })
	t.Run("incremental", func(t *testing.T) { testIncrements(t, h) })
}

// original is a filled instance with one binding.
type original struct {
	occupiedInstance
	same func(t *testing.T, theirs map[string]any)
}

func (h *harness) filled(t *testing.T) original {
	t.Helper()
	o := original{occupiedInstance: h.occupy(t)}
	o.same = h.Fill(t, delivered(t, o.credentials.Values))
	return o
}

// copied copies an instance, which must succeed.
func (h *harness) copied(t *testing.T, r *resource) ([]byte, services.Contents) {
	t.Helper()
	var stream bytes.Buffer
	contents, err := h.copyTo(t.Context(), t, r, &stream)
	succeeds(t, "backup", err)
	return stream.Bytes(), contents
}

func (h *harness) copyTo(ctx context.Context, t *testing.T, r *resource, w io.Writer) (services.Contents, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	contents, err := h.driver.Functions.Backup(ctx, services.RawBackup{Instance: r.raw, Writer: w})
	h.checkError(t, err)
	return contents, err
}

func (h *harness) restore(ctx context.Context, t *testing.T, r *resource, contents services.Contents, from io.Reader) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	_, err := h.driver.Functions.Restore(ctx, services.RawRestore{Instance: r.raw, Contents: contents, Reader: from})
	h.checkError(t, err)
	return err
}

// restored fails t unless r is equal to the original.
func (h *harness) restored(t *testing.T, r *resource, o original, contents services.Contents) services.Credentials {
	t.Helper()
	h.expectListed(t, r)
	_, again := h.copied(t, r)
	expectEqual(t, "the restored instance", contents, again)
	_, credentials := h.bound(t, r, h.Bind[0])
	if !h.NoDataCopied {
		h.reads(t, h.dialled(t, credentials), "key of the first", "value")
	}
	o.same(t, delivered(t, credentials.Values))
	h.works(t, credentials)
	return credentials
}

func expectEqual(t *testing.T, what string, want, got services.Contents) {
	t.Helper()
	if diff := cmp.Diff(want.Counts, got.Counts); diff != "" || want.Digest != got.Digest || want.Format != got.Format {
		t.Errorf("%s has other contents: format %q, digest %q, want %q, %q; counts (-want +got):\n%s",
			what, got.Format, got.Digest, want.Format, want.Digest, diff)
	}
}

// testRoundTrip restores a copy into an instance of the other plan, and checks that either
// instance then belongs to its own bindings alone.
func testRoundTrip(t *testing.T, h *harness) {
	source := h.filled(t)
	session := h.dialled(t, source.credentials)
	stream, contents := h.copied(t, source.resource)
	h.lives(t, session, "its instance was copied")
	h.concealsSecrets(t, source, stream, contents)
	_, again := h.copied(t, source.resource)
	expectEqual(t, "a second copy", contents, again)

	plan := h.Plan
	if h.OtherPlan != nil {
		plan = h.OtherPlan
	}
	target := h.instance(t, freshID(t), plan, h.Create[0])
	succeeds(t, "provision", h.provision(t, target))
	succeeds(t, "restore", h.restore(t.Context(), t, target, contents, bytes.NewReader(stream)))
	credentials := h.restored(t, target, source, contents)
	h.Reach(t, delivered(t, source.credentials.Values), delivered(t, credentials.Values))
	h.Reach(t, delivered(t, credentials.Values), delivered(t, source.credentials.Values))
	for _, params := range h.readOnly() {
		_, reader := h.bound(t, target, params)
		s := h.dialled(t, reader)
		if !h.NoDataCopied {
			h.reads(t, s, "key of the first", "value")
		}
		if err := s.Write(t.Context(), "key of the first", "overwritten"); err == nil {
			t.Error("a read-only binding of a restored instance wrote")
		}
	}
	succeeds(t, "unbind", h.unbind(t, target, target.bindings[0]))
	h.refused(t, credentials)
	succeeds(t, "deprovision the copy", h.deprovision(t, target))
	h.nothingLeft(t, target)
	source.works(t, h)
	succeeds(t, "deprovision the original", h.deprovision(t, source.resource))
	h.nothingLeft(t, source.resource)
}

// concealsSecrets fails t if a copy contains a secret.
func (h *harness) concealsSecrets(t *testing.T, o original, stream []byte, contents services.Contents) {
	t.Helper()
	described, err := json.Marshal(contents)
	succeeds(t, "encode the contents", err)
	for what, text := range map[string]string{"copy": string(stream), "description of the copy": string(described)} {
		if o.first.Seed.Scrub(text) != text {
			t.Errorf("the %s contains a secret of the binding", what)
		}
		for _, secret := range h.Secrets {
			if strings.Contains(text, secret) {
				t.Errorf("the %s contains a secret of the configuration", what)
			}
		}
	}
	if contents.Format == "" || len(contents.Counts) == 0 {
		t.Errorf("the contents need a format and counts: %s", described)
	}
}

// trigger calls what happens once so many bytes have passed.
type trigger struct {
	after int
	pull  func() error
}

func (f *trigger) passed(n int) error {
	if f.pull == nil {
		return nil
	}
	if f.after -= n; f.after > 0 {
		return nil
	}
	pull := f.pull
	f.pull = nil
	return pull()
}

type triggeredWriter struct {
	trigger
	bytes.Buffer
}

func (w *triggeredWriter) Write(p []byte) (int, error) {
	if err := w.passed(len(p)); err != nil {
		return 0, err
	}
	return w.Buffer.Write(p)
}

type triggeredReader struct {
	trigger
	io.Reader
}

func (r *triggeredReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if failed := r.passed(max(n, 1)); failed != nil {
		return 0, failed
	}
	return n, err
}

// testVerbsMeanwhile holds a backup up while applications write, and bindings come and go.
func testVerbsMeanwhile(t *testing.T, h *harness) {
	o := h.filled(t)
	leaving, credentials := h.bound(t, o.resource, h.Bind[0])
	session := h.dialled(t, credentials)
	reached, release := make(chan struct{}), make(chan struct{})
	w := &triggeredWriter{trigger: trigger{1, func() error { close(reached); <-release; return nil }}}
	ended := make(chan error, 1)
	go func() {
		_, err := h.copyTo(context.WithoutCancel(t.Context()), t, o.resource, w)
		ended <- err
	}()
	select {
	case <-reached:
	case err := <-ended:
		t.Fatalf("the backup ended before it wrote anything: %v", err)
	}
	h.writes(t, session, "key of the second", "value")
	arriving, arrived := h.bound(t, o.resource, h.Bind[0])
	h.works(t, arrived)
	succeeds(t, "unbind during a backup", h.unbind(t, o.resource, leaving))
	h.refused(t, credentials)
	h.expectEnded(t, session)
	close(release)
	succeeds(t, "backup", <-ended)
	o.works(t, h, arriving)
}

// testDamagedCopy restores what is no copy, or half of one.
func testDamagedCopy(t *testing.T, h *harness) {
	o := h.filled(t)
	stream, contents := h.copied(t, o.resource)
	target := h.provisioned(t)
	foreign := contents
	foreign.Format = "foreign-1"
	err := h.restore(t.Context(), t, target, foreign, bytes.NewReader(stream))
	if _, rejected := services.IsRejected(err); !rejected {
		t.Errorf("a copy of a foreign format: %v, want an error built by Rejected", err)
	}
	h.expectListed(t, target)
	noise := make([]byte, len(stream))
	_, _ = rand.Read(noise)
	truncated := errors.New("the copy is truncated")
	for name, reader := range map[string]io.Reader{
		"noise":             bytes.NewReader(noise),
		"nothing":           bytes.NewReader(nil),
		"the first half":    &triggeredReader{trigger{len(stream)/2 + 1, func() error { return truncated }}, bytes.NewReader(stream)},
		"without its end":   io.MultiReader(bytes.NewReader(stream), &triggeredReader{trigger{1, func() error { return truncated }}, bytes.NewReader(nil)}),
		"only a first half": bytes.NewReader(stream[:len(stream)/2]),
	} {
		if err := h.restore(t.Context(), t, target, contents, reader); err == nil {
			t.Errorf("%s was restored", name)
		}
		h.renewed(t, target)
	}
	succeeds(t, "restore", h.restore(t.Context(), t, target, contents, bytes.NewReader(stream)))
	h.restored(t, target, o, contents)
}

// renewed makes r anew, as the engine does after a failed restore. What a restore had sent when it
// was interrupted may still arrive, so that a deprovision has to be repeated.
func (h *harness) renewed(t *testing.T, r *resource) {
	t.Helper()
	err := h.deprovision(t, r)
	for end := time.Now().Add(callTimeout); err != nil && time.Now().Before(end); err = h.deprovision(t, r) {
		time.Sleep(100 * time.Millisecond)
	}
	succeeds(t, "deprovision after a failed restore", err)
	h.nothingLeft(t, r)
	succeeds(t, "provision again", h.provision(t, r))
}

// interruption is a way in which a copy ends early.
type interruption struct {
	name string
	// with calls work on a backend, with what interrupts it.
	with func(t *testing.T, h *harness, work func(ctx context.Context, h *harness, interrupt func() error) error) error
}

const cancellation = "cancelled"

// interruptions are those that the backend allows to be tested.
func (h *harness) interruptions() []interruption {
	all := []interruption{
		{"error", func(t *testing.T, h *harness, work func(context.Context, *harness, func() error) error) error {
			return work(t.Context(), h, func() error { return errors.New("the store is away") })
		}},
		{cancellation, func(t *testing.T, h *harness, work func(context.Context, *harness, func() error) error) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var at time.Time
			err := work(ctx, h, func() error { at = time.Now(); cancel(); return nil })
			if !at.IsZero() && time.Since(at) > callTimeout {
				t.Errorf("returned %s after it was cancelled", time.Since(at))
			}
			return err
		}},
	}
	if h.Local {
		return all
	}
	return append(all, interruption{"crash", func(t *testing.T, h *harness, work func(context.Context, *harness, func() error) error) error {
		proxy := NewProxy(t, h.Address)
		victim := newHarness(t, h.Suite, proxy.Address())
		return work(t.Context(), victim, func() error { proxy.Stop(); return errors.New("crashed") })
	}})
}

// testInterruptedBackup interrupts a backup. The next one must be as if nothing had happened.
func testInterruptedBackup(t *testing.T, h *harness) {
	o := h.filled(t)
	h.eachInterruption(t, o, func(t *testing.T, i interruption, at int) {
		_, before := h.copied(t, o.resource)
		w := &triggeredWriter{}
		err := i.with(t, h, func(ctx context.Context, h *harness, interrupt func() error) error {
			w.trigger = trigger{at, interrupt}
			_, err := h.copyTo(ctx, t, o.resource, w)
			return err
		})
		w.expectFailed(t, i, err)
		next := h.restarted(t)
		_, again := next.copied(t, o.resource)
		expectEqual(t, "the next copy", before, again)
		o.works(t, next)
	})
	for _, i := range h.interruptions() {
		t.Run(i.name+", then deprovisioned", func(t *testing.T) {
			o := h.occupy(t)
			_ = i.with(t, h, func(ctx context.Context, h *harness, interrupt func() error) error {
				_, err := h.copyTo(ctx, t, o.resource, &triggeredWriter{trigger: trigger{1, interrupt}})
				return err
			})
			succeeds(t, "deprovision", h.restarted(t).deprovision(t, o.resource))
			h.nothingLeft(t, o.resource)
		})
	}
}

// testInterruptedRestore interrupts a restore. The instance is then removed without a trace, made
// anew and restored.
func testInterruptedRestore(t *testing.T, h *harness) {
	o := h.filled(t)
	stream, contents := h.copied(t, o.resource)
	h.eachInterruption(t, o, func(t *testing.T, i interruption, at int) {
		target := h.provisioned(t)
		r := &triggeredReader{Reader: bytes.NewReader(stream)}
		err := i.with(t, h, func(ctx context.Context, h *harness, interrupt func() error) error {
			r.trigger = trigger{at, interrupt}
			return h.restore(ctx, t, target, contents, r)
		})
		r.expectFailed(t, i, err)
		next := h.restarted(t)
		next.renewed(t, target)
		succeeds(t, "restore", next.restore(t.Context(), t, target, contents, bytes.NewReader(stream)))
		next.restored(t, target, o, contents)
	})
}

// eachInterruption runs a test with each interruption at the start, the middle and the end of a
// copy, whose length is that of a copy of o.
func (h *harness) eachInterruption(t *testing.T, o original, test func(t *testing.T, i interruption, at int)) {
	stream, _ := h.copied(t, o.resource)
	for _, i := range h.interruptions() {
		for _, at := range []int{1, len(stream) / 2, len(stream)} {
			t.Run(fmt.Sprintf("%s after %d of %d bytes", i.name, at, len(stream)), func(t *testing.T) { test(t, i, at) })
		}
	}
}

// expectFailed fails t if the interrupted copy succeeded, or blamed the user. One that was
// cancelled, or shorter than expected, may have been complete.
func (f *trigger) expectFailed(t *testing.T, i interruption, err error) {
	t.Helper()
	if err == nil && f.pull == nil && i.name != cancellation {
		t.Error("it succeeded")
	}
	notBlamed(t, "an interrupted copy", err)
}
