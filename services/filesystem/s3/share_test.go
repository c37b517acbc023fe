package s3

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// What a program of this machine writes into the folder is an object, and what is
// an object it can read.
func TestFolderFromBeside(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	ctx, inst := objecttest.Context(t), newInstance("i", func(i *instance) { i.Plan.DeleteContents = true })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	b.shared = server.BucketsFolder()
	dir, err := b.Directory(ctx, inst)
	if err != nil {
		t.Fatal(err)
	}
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "one", "read_write")).Values)
	s.MustPut(t, "photographs/a", "from S3")
	if content, err := os.ReadFile(filepath.Join(dir, "photographs", "a")); string(content) != "from S3" || err != nil {
		t.Errorf("the folder has %q, %v", content, err)
	}
	beside(t, dir, "pictures", "a")
	if value, err := s.Read(ctx, "pictures/a"); value != "from beside" || err != nil {
		t.Errorf("the bucket has %q, %v", value, err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Errorf("a bucket with what was written beside the gateway: %v", err)
	}
	if dir, err := b.Directory(ctx, inst); dir != "" || err == nil {
		t.Errorf("of a bucket that is gone there is %q", dir)
	}
}

// beside writes a file as a program does that has the rights of the folder's owner.
func beside(t *testing.T, dir, sub, name string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, sub)
	if err := os.Mkdir(made, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(made, name), []byte("from beside"), 0o600); err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	for _, path := range []string{made, filepath.Join(made, name)} {
		if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}
