package s3

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
)

// copied is a copy that another one builds on.
type copied struct {
	stream   []byte
	contents services.Contents
}

func (c copied) base() services.BaseCopy {
	return services.BaseCopy{Contents: c.contents, Read: func(_ context.Context, read func(io.Reader) error) error {
		return read(bytes.NewReader(c.stream))
	}}
}

func copiedOn(t *testing.T, b *backend, inst instance, base copied) copied {
	t.Helper()
	var stream bytes.Buffer
	on := base.base()
	contents, err := b.Backup(t.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &stream, Base: &on})
	if err != nil {
		t.Fatal(err)
	}
	if !contents.Incremental {
		t.Fatal("the copy is complete")
	}
	return copied{stream.Bytes(), contents}
}

// Files that are changed in the gateway's folder keep what S3 says of an object: a renamed one has
// its old time, and one that is written to has its old ETag.
func TestIncrementsOfFiles(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	b.shared = server.BucketsFolder()
	inst := provisioned(t, b, "i", deletable)
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	for _, key := range []string{"edited", "renamed", "replaced", "deleted", "there and back"} {
		s.MustPut(t, key, "first of "+key)
	}
	s.MustPut(t, "large", strings.Repeat("x", 3<<20))
	dir, err := b.Directory(t.Context(), inst)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, key := range []string{"edited", "renamed", "replaced", "deleted", "there and back", "large"} {
		if err := os.Chtimes(filepath.Join(dir, key), old, old); err != nil {
			t.Fatal(err)
		}
	}
	stream, contents, err := backedUp(t, b, inst)
	if err != nil {
		t.Fatal(err)
	}
	full := copied{stream, contents}
	s.MustPut(t, "there and back", "meanwhile")
	second := copiedOn(t, b, inst, full)
	s.MustPut(t, "there and back", "first of there and back")
	remove(t, s, "deleted")
	file, err := os.OpenFile(filepath.Join(dir, "edited"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("FIRST"); err != nil { // of the same size
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"renamed": "new name", "replaced": "edited and replaced"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	third := copiedOn(t, b, inst, second)
	if len(second.stream)+len(third.stream) > 1<<20 {
		t.Errorf("what did not change was copied again: %d and %d bytes", len(second.stream), len(third.stream))
	}

	target := provisioned(t, b, "target", deletable)
	_, err = b.Restore(t.Context(), services.RestoreRequest[Plan, InstanceParams]{
		Instance: target, Contents: third.contents, Reader: bytes.NewReader(third.stream), Bases: []services.BaseCopy{second.base(), full.base()},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := objecttest.Dial(t, bound(t, b, target, newBinding(t, target, "b", access.ReadOnly)).Values)
	found := map[string]string{}
	objects, _, err := b.gateway.Keys(t.Context(), b.names.bucketOf(target.Name), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if found[o.Key], err = got.Read(objecttest.Context(t), o.Key); err != nil {
			t.Error(err)
		}
		found[o.Key] = found[o.Key][:min(len(found[o.Key]), 30)]
	}
	want := map[string]string{
		"edited": "FIRST of edited", "new name": "first of renamed", "edited and replaced": "first of replaced",
		"there and back": "first of there and back", "large": strings.Repeat("x", 30),
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}

// A base that is away ends a copy with its error.
func TestBaseThatIsAway(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst := provisioned(t, b, "i", deletable)
	stream, contents, err := backedUp(t, b, inst)
	if err != nil {
		t.Fatal(err)
	}
	base := copied{stream, contents}.base()
	base.Read = func(context.Context, func(io.Reader) error) error { return io.ErrUnexpectedEOF }
	_, err = b.Backup(t.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: io.Discard, Base: &base})
	objecttest.Expect(t, err, "read the base: unexpected EOF")
}
