package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func withSnapshots(i *instance) {
	i.Plan.Storage, i.Plan.Snapshots, i.Plan.DeleteContents = 64<<20, 3, true
}

// changed makes one update as the engine does.
func changed(t *testing.T, b *backend, inst instance, p InstanceParams) error {
	t.Helper()
	next := inst
	next.Params = p
	r := services.UpdateRequest[Plan, InstanceParams]{Previous: inst, Instance: next, Operation: fmt.Sprint(time.Now().UnixNano())}
	if err := b.CheckUpdate(r); err != nil {
		return err
	}
	return servicetest.ToTheEnd(objecttest.Context(t), func(ctx context.Context) error { _, err := b.Update(ctx, r); return err })
}

func snapshot(name string) InstanceParams {
	return InstanceParams{Snapshot: &btrfs.Named{Name: name}}
}

func undo(to, keep string) InstanceParams {
	return InstanceParams{Undo: &btrfs.UndoTo{To: to, Keep: keep}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectObject(t *testing.T, s objecttest.Session, key, want string) {
	t.Helper()
	if got, err := s.Read(objecttest.Context(t), key); err != nil || got != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

// A user makes a snapshot, breaks everything, and brings it back. Bindings go on, also one that was
// made since, and uploads that an undo overtakes do not appear.
func TestUndo(t *testing.T) {
	server, ctx := newHardServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", withSnapshots)
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "folder/key", "good")
	must(t, changed(t, b, inst, snapshot("before-import")))
	s.MustPut(t, "folder/key", "bad")
	s.MustPut(t, "more", strings.Repeat("x", 1<<20))
	late := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "late", access.ReadOnly)).Values)
	core := minio.Core{Client: s.Client}
	upload, err := core.NewMultipartUpload(ctx, s.Bucket, "parts", minio.PutObjectOptions{})
	must(t, err)
	part, err := core.PutObjectPart(ctx, s.Bucket, "parts", upload, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{})
	must(t, err)
	reading, err := s.Client.GetObject(ctx, s.Bucket, "more", minio.GetObjectOptions{})
	must(t, err)
	one := make([]byte, 1)
	_, err = reading.Read(one)
	must(t, err)
	slow := &slowly{content: strings.Repeat("y", 1<<20), resume: make(chan struct{})}
	put := make(chan error)
	go func() {
		_, err := s.Client.PutObject(ctx, s.Bucket, "slow", slow, 1<<20, minio.PutObjectOptions{DisableMultipart: true})
		put <- err
	}()
	time.Sleep(300 * time.Millisecond)
	began := time.Now()
	must(t, changed(t, b, inst, undo("before-import", "failed-import")))
	t.Logf("undone in %s", time.Since(began))
	close(slow.resume)
	t.Logf("an upload that the undo overtook: %v", <-put)
	rest, err := io.Copy(io.Discard, reading)
	t.Logf("a download that the undo overtook: %d bytes more, %v", rest, err)
	expectObject(t, s, "folder/key", "good")
	expectObject(t, late, "folder/key", "good")
	objecttest.Expect(t, late.Put(t, "key", "x"), "Access Denied")
	if _, err := core.CompleteMultipartUpload(ctx, s.Bucket, "parts", upload, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{}); err == nil {
		t.Error("an unfinished upload survived")
	}
	if _, err := s.Read(ctx, "more"); err == nil {
		t.Error("an object from after the snapshot is there")
	}
	if _, err := s.Read(ctx, "slow"); err == nil {
		t.Log("the overtaken upload was repeated by the client")
	}
	s.MustPut(t, "folder/since", "since")
	described, err := b.Describe(ctx, inst)
	must(t, err)
	if shown := fmt.Sprint(described); !strings.Contains(shown, "before-import") || !strings.Contains(shown, "allowed:3 count:2") {
		t.Errorf("described as %v", described)
	}
	notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
	if err != nil || len(notes) > 0 {
		t.Errorf("reconcile: %v, %v", notes, err)
	}
	must(t, changed(t, b, inst, undo("failed-import", "")))
	expectObject(t, s, "folder/key", "bad")
	must(t, servicetest.Patient(b).Deprovision(ctx, inst))
	left, err := os.ReadDir(filepath.Join(server.folder, ".snapshots-c"))
	if gone, listErr := server.leftOf(ctx, inst.Name, nil); len(left)+len(gone) > 0 || !errors.Is(err, os.ErrNotExist) || listErr != nil {
		t.Errorf("left: %v, %v, %v, %v", left, gone, err, listErr)
	}
}

// slowly is a body that stops half-way until it may go on.
type slowly struct {
	content string
	resume  chan struct{}
}

func (s *slowly) Read(p []byte) (int, error) {
	if len(s.content) <= 1<<19 {
		<-s.resume
	}
	n := copy(p[:min(len(p), 1<<18)], s.content)
	s.content = s.content[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Tenants do not reach snapshots through the gateway, not even their own.
func TestSnapshotsAreNotBuckets(t *testing.T) {
	server, ctx := newHardServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", withSnapshots)
	values := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values
	s := objecttest.Dial(t, values)
	s.MustPut(t, "key", "secret")
	must(t, changed(t, b, inst, snapshot("first")))
	made, err := filepath.Glob(filepath.Join(b.snapshots.Directory(s.Bucket), "first@*"))
	if err != nil || len(made) != 1 {
		t.Fatalf("the snapshots: %q, %v", made, err)
	}
	inside := s.Bucket + "/" + filepath.Base(made[0]) + "/key"
	if content, err := os.ReadFile(filepath.Join(server.folder, ".snapshots-c", inside)); err != nil || string(content) != "secret" {
		t.Fatalf("the snapshot: %q, %v", content, err)
	}
	me := objecttest.Raw(t, values)
	for name, r := range map[string]objectstore.Request{
		"list":   {Method: http.MethodGet, Bucket: ".snapshots-c"},
		"read":   {Method: http.MethodGet, Bucket: ".snapshots-c", Key: inside},
		"write":  {Method: http.MethodPut, Bucket: ".snapshots-c", Key: inside, Body: []byte("x")},
		"delete": {Method: http.MethodDelete, Bucket: ".snapshots-c", Key: inside},
		"climb":  {Method: http.MethodGet, Bucket: s.Bucket, Key: "../.snapshots-c/" + inside},
		"copy": {Method: http.MethodPut, Bucket: s.Bucket, Key: "copy",
			Header: http.Header{"X-Amz-Copy-Source": {"/.snapshots-c/" + inside}}},
		"copy, encoded": {Method: http.MethodPut, Bucket: s.Bucket, Key: "copy",
			Header: http.Header{"X-Amz-Copy-Source": {"/%2Esnapshots-c/" + inside}}},
	} {
		err := me.Call(ctx, r, nil)
		if err == nil {
			t.Errorf("%s: was not refused", name)
		}
		t.Logf("%s: %v", name, err)
	}
	info, err := os.Stat(filepath.Join(server.folder, ".snapshots-c"))
	if err != nil || info.Mode().Perm() != 0o744 {
		t.Errorf("the snapshots' directory: %v, %v", info, err)
	}
}

// Snapshots protect an instance whose plan keeps contents, and are found without it.
func TestSnapshotsLeft(t *testing.T) {
	server, ctx := newHardServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { withSnapshots(i); i.Plan.DeleteContents = false })
	must(t, changed(t, b, inst, snapshot("first")))
	objecttest.Rejected(t, servicetest.Once(b).Deprovision(ctx, inst), "still has snapshots")
	must(t, b.gateway.DeleteBucket(ctx, b.names.bucketOf(inst.Name))) // a crash
	found, err := b.List(ctx)
	if err != nil || len(found) != 1 || found[0].Instance != inst.Name {
		t.Errorf("listed: %v, %v", found, err)
	}
	inst.Plan.DeleteContents = true
	must(t, servicetest.Patient(b).Deprovision(ctx, inst))
	if found, err := b.List(ctx); err != nil || len(found) > 0 {
		t.Errorf("listed afterwards: %v, %v", found, err)
	}
}

// A bucket that is not a subvolume, and a gateway without btrfs.
func TestSnapshotsElsewhere(t *testing.T) {
	server := newHardServer(t)
	hard := server.backend(t, "c")
	server.folder = ""
	soft := server.backend(t, "c")
	objecttest.Expect(t, soft.CheckPlan(Plan{Snapshots: 1}), "need folder on the file system btrfs, which the backend's configuration does not name")
	must(t, errors.Join(hard.CheckPlan(Plan{Snapshots: 1}), soft.CheckPlan(Plan{})))
	inst := provisioned(t, soft, "i", func(i *instance) { i.Plan.DeleteContents = true })
	objecttest.Rejected(t, changed(t, soft, inst, snapshot("first")), "parameters.snapshot: this plan has no snapshots")
	inst.Plan.Snapshots = 1
	objecttest.Rejected(t, changed(t, hard, inst, snapshot("first")), "before its server had the file system btrfs")
}
