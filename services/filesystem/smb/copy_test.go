package smb

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/tree"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// fill makes files over SMB, and what only programs on the server can make, in a share's folder.
func fill(server *testServer) func(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	return func(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
		t.Helper()
		s, dir := dialled(t, mine), filepath.Join(server.SharesFolder(), text(t, mine, "share"))
		if err := s.share.MkdirAll(`deep\er\folder ä日本`, 0o770); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{
			"empty": "", "100% of #it;": "x", `deep\er\folder ä日本\large`: strings.Repeat("0123456789", 30_000), strings.Repeat("n", 200): "long",
		} {
			if err := s.share.WriteFile(name, []byte(content), 0o660); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		fillLocally(t, dir)
		want := state(t, dir)
		return func(t *testing.T, theirs map[string]any) {
			t.Helper()
			if diff := cmp.Diff(want, state(t, filepath.Join(server.SharesFolder(), text(t, theirs, "share")))); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		}
	}
}

func fillLocally(t *testing.T, dir string) {
	t.Helper()
	var own syscall.Stat_t
	if err := syscall.Lstat(dir, &own); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	list := func(id uint32) string { // user::rw- user:ID:rw- group::r-- mask::rw- other::---
		return string([]byte{2, 0, 0, 0}) + aclEntry(1, 6, 1<<32-1) + aclEntry(2, 6, id) + aclEntry(4, 4, 1<<32-1) + aclEntry(0x10, 6, 1<<32-1) + aclEntry(0x20, 0, 1<<32-1)
	}
	steps := []error{
		os.WriteFile(in("listed"), []byte("x"), 0o600), //nolint:gosec // a test's own path
		unix.Setxattr(in("listed"), "system.posix_acl_access", []byte(list(own.Uid)), 0),
		unix.Setxattr(in("listed"), "user.with=sign%3D", []byte("a\x00b"), 0),
		unix.Setxattr(in("deep/er"), "user.large", bytes.Repeat([]byte("e"), 2000), 0),
		os.Link(in("listed"), in("deep/second name")),
		os.Symlink("../nowhere/\n", in("deep/link")),
		os.WriteFile(in("not\xffUTF-8"), []byte("x"), 0o640), //nolint:gosec // as above
		os.WriteFile(in("sparse"), []byte("begin"), 0o600),   //nolint:gosec // as above
		os.Truncate(in("sparse"), 1<<40),
		os.Chtimes(in("listed"), time.Time{}, time.Unix(-1, 123456789)),
		os.Chtimes(in("deep"), time.Time{}, time.Unix(1_000_000_000, 5)),
	}
	for _, name := range []string{"listed", "deep/link", "not\xffUTF-8", "sparse"} {
		steps = append(steps, os.Lchown(in(name), int(own.Uid), int(own.Gid)))
	}
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

func aclEntry(tag, rights byte, id uint32) string {
	return string([]byte{tag, 0, rights, 0, byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
}

// state is what a tree holds, as text by name. Owners are relative to the tree's.
func state(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	var top syscall.Stat_t
	if err := syscall.Lstat(dir, &top); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || name == "." || strings.HasPrefix(name, "key of") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s owned %t %t", info.Mode(), stat.Uid == top.Uid, stat.Gid == top.Gid)
		if !d.IsDir() || name == "deep" {
			line += fmt.Sprint(" ", info.ModTime().UnixNano(), " names ", stat.Nlink)
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			found[name] = line + " to " + target
			return nil
		case d.Type().IsRegular() && info.Size() > 1<<30:
			line += fmt.Sprint(" size ", info.Size(), " small ", stat.Blocks < 1000)
		case d.Type().IsRegular():
			content, err := os.ReadFile(path) //nolint:gosec // a test's own path
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" content %x", sha256.Sum256(content))
		}
		found[name] = line + attributesOf(t, path, top)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func attributesOf(t *testing.T, path string, top syscall.Stat_t) string {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"user.DOSATTRIB", "user.with=sign%3D", "user.large", "system.posix_acl_access", "system.posix_acl_default"} {
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			continue
		}
		// A list names the account by its number.
		own := aclEntry(2, 6, top.Uid)
		fmt.Fprintf(&text, " %s=%q", name, strings.ReplaceAll(string(value[:n]), own, "OWN"))
	}
	return text.String()
}

func backedUp(t testing.TB, b *backend, inst instance, w io.Writer) services.Contents {
	t.Helper()
	contents, err := b.Backup(t.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: w})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

func restored(t testing.TB, b *backend, inst instance, contents services.Contents, r io.Reader) error {
	t.Helper()
	_, err := b.Restore(t.Context(), services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: r})
	return err
}

// meddling calls a function before the first write.
type meddling struct {
	bytes.Buffer
	once sync.Once
	do   func()
}

func (m *meddling) Write(p []byte) (int, error) {
	m.once.Do(m.do)
	return m.Buffer.Write(p)
}

// On btrfs a copy is of one point in time, although clients write meanwhile. Nothing of it is left.
func TestSnapshots(t *testing.T) {
	server := newHardServer(t, true)
	b := server.backend(t, "c")
	inst, target := provisioned(t, b, "i", roomy), provisioned(t, b, "target", roomy)
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
	for i := range 20 {
		s.mustWrite(t, fmt.Sprint(i), strings.Repeat("before ", 100_000))
	}
	stream := meddling{do: func() {
		for i := range 20 {
			s.mustWrite(t, fmt.Sprint(i), "after")
		}
	}}
	contents := backedUp(t, b, inst, &stream)
	noSnapshot(t, b)
	if err := restored(t, b, target, contents, &stream.Buffer); err != nil {
		t.Fatal(err)
	}
	got := dialled(t, bound(t, b, target, newBinding(t, target, "b", BindingParams{ReadOnly: true})).Values)
	for i := range 20 {
		if value, err := got.Read(testContext(t), fmt.Sprint(i)); !strings.HasPrefix(value, "before") || err != nil {
			t.Errorf("file %d: %.20q, %v", i, value, err)
		}
	}
}

func roomy(i *instance) { i.Plan.DeleteContents, i.Plan.Storage = true, 100*services.Megabyte }

func noSnapshot(t *testing.T, b *backend) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(b.folder.dir, snapshotPrefix+"*"))
	if len(left) > 0 || err != nil {
		t.Errorf("snapshots are left: %v, %v", left, err)
	}
}

// A snapshot that a crash left is listed, and goes with the next copy or with the instance.
func TestSnapshotOfACrash(t *testing.T) {
	server := newHardServer(t, true)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", roomy)
	name := b.names.resource(inst.Name)
	crashed := func() {
		t.Helper()
		if _, _, err := b.folder.still(name); err != nil {
			t.Fatal(err)
		}
	}
	crashed()
	backedUp(t, b, inst, io.Discard)
	noSnapshot(t, b)
	crashed()
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, server, inst, newBinding(t, inst, "b", BindingParams{}))
	// One whose instance is gone.
	inst = provisioned(t, b, "again", roomy)
	name = b.names.resource(inst.Name)
	crashed()
	if _, err := b.folder.volumes().Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := b.accounts.change(t.Context(), func(t *table) error { t.drop(inst.Name); return b.samba.dropShare(context.Background(), name) }); err != nil {
		t.Fatal(err)
	}
	found, err := b.List(t.Context())
	if len(found) != 1 || found[0].Instance != inst.Name || err != nil {
		t.Errorf("listed: %v, %v", found, err)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	noSnapshot(t, b)
}

// The quota holds while a copy is restored, also if its description says too little.
func TestCopiesThatDoNotFit(t *testing.T) {
	server := newHardServer(t, true)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", roomy)
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
	random := make([]byte, 12<<20)
	_, _ = rand.Read(random)
	s.mustWrite(t, "large", string(random))
	var stream bytes.Buffer
	contents := backedUp(t, b, inst, &stream)
	const want = "the backup contains 1 files with 12 MB, beside what the file system needs for them, which is more than the plan allows: choose a larger plan"
	for name, limit := range map[string]func(*Plan){
		"described": func(p *Plan) { p.Storage = 5 * services.Megabyte },
		"full":      func(p *Plan) { p.Storage = 12 * services.Megabyte },
	} {
		target := provisioned(t, b, name, func(i *instance) { i.Plan.DeleteContents = true; limit(&i.Plan) })
		err := restored(t, b, target, contents, bytes.NewReader(stream.Bytes()))
		if message, rejected := services.IsRejected(err); !rejected || message != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A disk that is full is not the user's fault.
func TestRestoreToAFullDisk(t *testing.T) {
	server := &testServer{embeddedtest.Samba(t, embeddedtest.Ext4(t, "32M", "-b", "4096"))}
	b := server.backend(t, "c")
	from := t.TempDir()
	random := make([]byte, 40<<20)
	_, _ = rand.Read(random)
	if err := os.WriteFile(filepath.Join(from, "large"), random, 0o600); err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	contents, err := tree.Write(t.Context(), from, tree.Owner{}, &stream)
	if err != nil {
		t.Fatal(err)
	}
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	if err := restored(t, b, inst, contents, &stream); !services.IsOutOfCapacity(err) {
		t.Errorf("%v, want that there is no capacity", err)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
}
