package s3

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// newHardServer is a gateway over a btrfs of its own.
func newHardServer(t *testing.T) *testServer {
	t.Helper()
	mounted := embeddedtest.Btrfs(t, "512M")
	embeddedtest.Command(t, "btrfs", "quota", "enable", mounted)
	s := &testServer{dir: t.TempDir(), folder: mounted}
	s.VersityGW = embeddedtest.VersityGW(t, embedded.VersityGWOptions{Dir: s.dir, Buckets: mounted})
	return s
}

func TestHardSuite(t *testing.T) {
	server := newHardServer(t)
	runSuite(t, server, []servicetest.Limit{
		{Name: "storage", Plan: json.RawMessage(`{"storage": "4MB", "delete_contents": true}`), Holds: holdsHardStorage},
		{Name: "objects", Plan: json.RawMessage(`{"storage": "4MB", "objects": 3, "delete_contents": true}`), Holds: holdsObjects},
	}, true)
	embeddedtest.Command(t, "btrfs", "filesystem", "sync", server.folder) // or the kernel begins to clean up 30 s later
	embeddedtest.Command(t, "btrfs", "subvolume", "sync", server.folder)
	if groups := embeddedtest.Command(t, "btrfs", "qgroup", "show", "--raw", server.folder); strings.Count(groups, "0/") != 1 {
		t.Errorf("quota groups left, besides the file system's own:\n%s", groups)
	}
}

// A bucket that was made before the folder was known is measured, and goes on.
func TestHardAfterwards(t *testing.T) {
	server, ctx := newHardServer(t), objecttest.Context(t)
	hard := server.backend(t, "c")
	server.folder = ""
	soft := server.backend(t, "c")
	inst := provisioned(t, soft, "i", func(i *instance) { i.Plan.Storage = 1 << 20; i.Plan.DeleteContents = true })
	if err := servicetest.Once(hard).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	s := objecttest.Dial(t, bound(t, hard, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "big", strings.Repeat("x", 3<<19))
	notes, err := servicetest.Once(hard).Reconcile(ctx, nil, []instance{inst})
	if err != nil || !strings.HasPrefix(notes["i"].Message, "storage: 1.5 MB of 1 MB used; writes are refused") {
		t.Errorf("keep: %v, %v", notes, err)
	}
	if err := servicetest.Once(hard).Deprovision(ctx, inst); err != nil {
		t.Error(err)
	}
}

// The note of a bucket at its hard limit, and a larger plan.
func TestHardNote(t *testing.T) {
	server, ctx := newHardServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Storage = 16 << 20; i.Plan.DeleteContents = true })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	big := strings.Repeat("x", 31<<19)
	s.MustPut(t, "big", big)
	embeddedtest.Command(t, "btrfs", "filesystem", "sync", server.folder) // which is when the kernel counts
	notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
	if err != nil || !strings.HasSuffix(notes["i"].Message, "of 16 MB used; writes that need more space are refused: delete objects, or choose a larger plan") {
		t.Errorf("keep: %v, %v", notes, err)
	}
	if s.Put(t, "more", big) == nil {
		t.Error("wrote over the limit")
	}
	next := inst
	next.Plan.Storage = 0
	if err := servicetest.Once(b).Update(ctx, inst, next); err != nil {
		t.Fatal(err)
	}
	s.MustPut(t, "more", big)
	if notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{next}); err != nil || len(notes) > 0 {
		t.Errorf("keep, without a limit: %v, %v", notes, err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, next); err != nil {
		t.Error(err)
	}
}

// The disk is full under a plan without limits: every verb says so or works, and
// nothing is left when there is room again.
func TestFullDisk(t *testing.T) {
	dir, ctx := embeddedtest.Ext4(t, "64M"), objecttest.Context(t)
	server := &testServer{VersityGW: embeddedtest.VersityGW(t, embedded.VersityGWOptions{Dir: dir}), dir: dir}
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "filler", access.ReadWrite)).Values)
	size := 8 << 20
	for i := 0; size > 0; i++ {
		if s.Put(t, fmt.Sprint("fill/", i), strings.Repeat("x", size)) != nil {
			size /= 4
		}
	}
	late, other := newBinding(t, inst, "late", access.ReadWrite), newInstance("other", nil)
	_, bindErr := servicetest.Once(b).Bind(ctx, inst, late)
	provisionErr := servicetest.Once(b).Provision(ctx, other)
	t.Logf("on a full disk: bind: %v; provision: %v", bindErr, provisionErr)
	if bindErr == nil && provisionErr == nil {
		t.Error("nothing noticed the full disk")
	}
	for name, err := range map[string]error{"bind": bindErr, "provision": provisionErr} {
		if message, refused := services.IsRejected(err); refused {
			t.Errorf("%s: reported as the user's error: %s", name, message)
		}
	}
	for i := range 3 {
		if err := s.Client.RemoveObject(ctx, s.Bucket, fmt.Sprint("fill/", i), minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	objecttest.Dial(t, bound(t, b, inst, late).Values).MustPut(t, "key", "value")
	if err := errors.Join(servicetest.Once(b).Provision(ctx, other), servicetest.Once(b).Deprovision(ctx, other), servicetest.Once(b).Deprovision(ctx, inst)); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []instance{inst, other} {
		if left, err := server.leftOf(ctx, gone.Name, []string{late.Name}); len(left) > 0 || err != nil {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// A folder that cannot do it is said to be one.
func TestFolderFaults(t *testing.T) {
	server := newServer(t)
	for dir, want := range map[string]string{t.TempDir(): "is not on btrfs", "/nowhere/at/all": "no such file"} {
		server.folder = dir
		b := server.backend(t, "c")
		objecttest.Expect(t, b.Ready(objecttest.Context(t)), want)
		objecttest.Expect(t, servicetest.Once(b).Provision(objecttest.Context(t), newInstance("i", nil)), want)
	}
}

// holdsHardStorage goes over the limit within one round of Reconcile.
func holdsHardStorage(t *testing.T, use servicetest.Use) {
	s := objecttest.Dial(t, use.Bind(t, nil))
	megabyte := strings.Repeat("x", 1<<20)
	stored := 0
	for _, key := range strings.Split("abcdefgh", "") {
		err := s.Put(t, key, megabyte)
		if err == nil {
			stored++
			continue
		}
		if code := minio.ToErrorResponse(err).Code; code != "QuotaExceeded" {
			t.Errorf("%d MB stored, then %s: %v", stored, code, err)
		}
	}
	if stored < 2 || stored > 4 {
		t.Errorf("%d MB stored, of 4 MB allowed", stored)
	}
	for _, key := range []string{"a", "b"} {
		if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Errorf("delete from a full bucket: %v", err)
		}
	}
}
