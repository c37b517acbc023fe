package rgw

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ceph/go-ceph/rgw/admin"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
)

func backedUp(t *testing.T, b *backend, inst instance, w io.Writer) services.Contents {
	t.Helper()
	contents, err := b.Backup(t.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: w})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

func restored(t *testing.T, b *backend, inst instance, contents services.Contents, r io.Reader) error {
	t.Helper()
	_, err := b.Restore(t.Context(), services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: r})
	return err
}

// copyKeys are the keys of an instance that copies made.
func (s *testServer) copyKeys(t *testing.T, b *backend, inst instance) (found []string) {
	t.Helper()
	for _, name := range []string{"rw", "ro"} {
		u, err := s.api(t).GetUser(t.Context(), admin.User{ID: b.names.user(inst.Name, name)})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range u.Keys {
			if strings.Contains(k.AccessKey, "copy") {
				found = append(found, k.AccessKey)
			}
		}
	}
	return found
}

// A key that a crash left counts as no binding, and goes with the next copy.
func TestKeyOfACrash(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := objecttest.Provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents, i.Plan.Bindings = true, 1 })
	for _, role := range roles() {
		if _, err := b.copyKey(t.Context(), inst.Name, role); err != nil {
			t.Fatal(err)
		}
	}
	if keys := server.copyKeys(t, b, inst); len(keys) != 2 {
		t.Fatalf("keys: %v", keys)
	}
	found, err := b.List(t.Context())
	for _, r := range found {
		if r.Instance == inst.Name && r.Binding != "" {
			t.Errorf("listed: %+v", r)
		}
	}
	if err != nil {
		t.Error(err)
	}
	objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "the only one", access.ReadWrite)).Values)
	backedUp(t, b, inst, io.Discard)
	if keys := server.copyKeys(t, b, inst); len(keys) != 0 {
		t.Errorf("keys are left: %v", keys)
	}
}

// Restored objects belong to the user to whom those belong that a binding writes.
func TestOwnerOfRestoredObjects(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst, target := objecttest.Provisioned(t, b, "i", deletable), objecttest.Provisioned(t, b, "target", deletable)
	objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values).MustPut(t, "key", "value")
	var stream bytes.Buffer
	contents := backedUp(t, b, inst, &stream)
	if err := restored(t, b, target, contents, &stream); err != nil {
		t.Fatal(err)
	}
	s := objecttest.Dial(t, objecttest.Bound(t, b, target, objecttest.NewBinding(t, target, "b", access.ReadWrite)).Values)
	s.MustPut(t, "written", "value")
	owners := map[string]string{}
	for o := range s.Client.ListObjects(objecttest.Context(t), s.Bucket, minio.ListObjectsOptions{UseV1: true}) {
		owners[o.Key] = o.Owner.ID
	}
	if owners["key"] == "" || owners["key"] != owners["written"] {
		t.Errorf("owners: %v", owners)
	}
}

// The quota holds during a restore, and the user learns that the plan is too small.
func TestRestoreBeyondTheQuota(t *testing.T) {
	server := newServer(t)
	b := server.backend(t)
	inst := objecttest.Provisioned(t, b, "i", deletable)
	s := objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values)
	for i := range 300 { // each counts as 4 kB
		s.MustPut(t, fmt.Sprint(i), "x")
	}
	var stream bytes.Buffer
	contents := backedUp(t, b, inst, &stream)
	// Below the limit in bytes, and above it in the gateway's count.
	target := objecttest.Provisioned(t, b, "target", func(i *instance) { i.Plan.DeleteContents, i.Plan.Storage = true, services.Megabyte })
	objecttest.Rejected(t, restored(t, b, target, contents, &stream), "more than the plan allows")
}
