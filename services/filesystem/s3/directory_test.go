package s3

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/chandler-broker/chandler/services/access"
)

// What other programs on the machine are told of a bucket holds its objects.
func TestFolder(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	_, err := b.Directory(ctx, inst)
	objecttest.Rejected(t, err, "set shared_folder") // not to be tried again
	b.shared = server.BucketsFolder()
	objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values).MustPut(t, "key", "value")
	dir, err := b.Directory(ctx, inst)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || string(content) != "value" {
		t.Errorf("%q, %v", content, err)
	}
	_, err = b.Directory(ctx, newInstance("absent", nil))
	objecttest.Expect(t, err, "no such file or directory")
}
