package smb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// A folder of many files, a file with several names, and folders deeper than a path can be
// long are counted and deleted completely, in several calls.
func TestLargeFolders(t *testing.T) {
	dir := t.TempDir()
	f := newFolder(dir, "c")
	grow(t, filepath.Join(dir, "c-share"))
	c := &counter{dir: f.path("c-share")}
	var whole bool
	for rounds := 0; !whole; rounds++ {
		var err error
		if whole, err = c.Advance(t.Context(), time.Now()); err != nil || rounds > 10000 {
			t.Fatalf("round %d: %v", rounds, err)
		}
	}
	used := c.Amount()
	if want := 1200 + 2 + 1 + 1500; used.Items != want {
		t.Errorf("counted %d files, want %d", used.Items, want)
	}
	if used.Bytes < 1<<20 || used.Bytes > 16<<20 {
		t.Errorf("counted %v", used.Bytes)
	}
	if err := f.discard("c-share"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(f.path("c-share")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still in its place: %v", err)
	}
	slices := 0
	for done := false; !done; slices++ {
		var err error
		if done, err = f.empty("c-share", time.Now()); err != nil || slices > 10000 {
			t.Fatalf("slice %d: %v", slices, err)
		}
	}
	if slices < 10 {
		t.Errorf("deleted in %d slices, though each had no time", slices)
	}
	if left, err := f.shares(); err != nil || len(left) != 1 { // the trash itself
		t.Errorf("left: %v, %v", left, err)
	}
}

// grow makes 1200 files, a file of 1 MB with two names and a link to it, and
// 1500 folders in one another.
func grow(t *testing.T, top string) {
	t.Helper()
	if err := os.Mkdir(top, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	for i := range 1200 {
		if err := root.WriteFile(fmt.Sprint(i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(root.WriteFile("big", make([]byte, 1<<20), 0o600), root.Link("big", "same"), root.Symlink("/etc", "away")); err != nil {
		t.Fatal(err)
	}
	in := root
	for range 1500 {
		if err := in.Mkdir("deep", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := in.OpenRoot("deep")
		if err != nil {
			t.Fatal(err)
		}
		if in != root {
			_ = in.Close()
		}
		in = next
	}
	_ = in.Close()
}

// Neither the server nor counting nor deletion follows a link that another program made in
// a share's folder.
func TestLinksAreNotFollowed(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	theirs := provisioned(t, b, "theirs", func(i *instance) { i.Plan.DeleteContents = true })
	their := dialled(t, bound(t, b, theirs, newBinding(t, theirs, "b", BindingParams{})).Values)
	their.mustWrite(t, "secret", "theirs")
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
	dir, err := b.Directory(ctx, inst)
	if err != nil {
		t.Fatal(err)
	}
	target := b.folder.path(b.names.resource(theirs.Name))
	for name, to := range map[string]string{"dir": target, "file": filepath.Join(target, "secret"), "up": "../" + filepath.Base(target) + "/secret"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if content, err := s.share.ReadFile(name); err == nil {
			t.Errorf("read %q through %s", content, name)
		}
	}
	if content, err := s.share.ReadFile(`dir\secret`); err == nil {
		t.Errorf("read %q through a folder", content)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	if got, err := their.Read(ctx, "secret"); err != nil || got != "theirs" {
		t.Errorf("the other's file: %q, %v", got, err)
	}
	if _, err := b.Directory(ctx, inst); !errors.Is(err, errAbsent) {
		t.Errorf("the folder of an instance that is gone: %v", err)
	}
}
