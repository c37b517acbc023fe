package s3

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/servicetest"
	"github.com/chandler-broker/chandler/services/usage"
)

// A bucket with more than a page of objects, odd keys and unfinished uploads is
// counted and emptied to the end.
func TestContents(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Objects = 1; i.Plan.Storage = 1 << 20 })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	want := fill(t, server, s)
	core := minio.Core{Client: s.Client}
	for i := range 4 {
		key := fmt.Sprint("unfinished", i%2)
		id, err := core.NewMultipartUpload(ctx, s.Bucket, key, minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for part := range 2 {
			if _, err := core.PutObjectPart(ctx, s.Bucket, key, id, part+1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		want.Items, want.Bytes = want.Items+1, want.Bytes+8
		if i == 0 {
			s.MustPut(t, key, "done")
			want.Items, want.Bytes = want.Items+1, want.Bytes+4
		}
	}
	got := counted(t, b, inst)
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	for range 100 {
		err := servicetest.Once(b).Deprovision(ctx, inst)
		if _, notYet := errors.AsType[*services.NotYetError](err); notYet {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if left, err := server.leftOf(ctx, inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// fill puts what is odd over S3, and what is many into the gateway's folder.
func fill(t *testing.T, server *testServer, s objecttest.Session) usage.Amount {
	t.Helper()
	var stored usage.Amount
	for _, key := range objecttest.OddKeys() {
		value := "x"
		if strings.HasSuffix(key, "/") {
			value = "" // a folder holds no bytes
		}
		err := s.Put(t, key, value)
		for more := 5; more > 0 && objecttest.HungUp(err); more-- { // which leaves open whether it was stored
			err = s.Put(t, key, value)
		}
		if err != nil {
			t.Logf("the gateway does not take %q: %v", key, err)
			continue
		}
		stored.Items, stored.Bytes = stored.Items+1, stored.Bytes+services.Size(len(value))
	}
	if stored.Items < len(objecttest.OddKeys())-5 {
		t.Fatalf("only %d of %d odd keys were taken", stored.Items, len(objecttest.OddKeys()))
	}
	many := filepath.Join(server.BucketsFolder(), s.Bucket, "many")
	if err := os.Mkdir(many, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(many, 0o777); err != nil { //nolint:gosec // the gateway's user has to delete from it
		t.Fatal(err)
	}
	const more = 2100
	for i := range more {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprint(i)), []byte("12"), 0o666); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
	stored.Items, stored.Bytes = stored.Items+more, stored.Bytes+2*more
	return stored
}

// counted counts with hardly any time a call, as in a bucket that takes many
// rounds.
func counted(t *testing.T, b *backend, inst instance) usage.Amount {
	t.Helper()
	c, rounds := &counter{b: b, bucket: b.names.bucketOf(inst.Name)}, 0
	for done := false; !done; rounds++ {
		if rounds > 1000 {
			t.Fatal("the count never ends")
		}
		var err error
		if done, err = c.Advance(objecttest.Context(t), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if rounds < 4 {
		t.Errorf("%d rounds", rounds)
	}
	return c.used
}

// A bucket is known to be over as soon as that much was counted.
func TestOverBeforeTheCountEnds(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Objects = 10 })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	fill(t, server, s)
	over, early := false, ""
	for round := 0; !over; round++ {
		var err error
		if over, early, err = b.measure(ctx, inst.Name, inst.Plan, false, time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if round > 10 {
			t.Fatal("not over")
		}
	}
	if strings.Contains(early, "objects: 21") {
		t.Errorf("the whole bucket was counted: %s", early)
	}
	note := ""
	for round := 0; !strings.Contains(note, "objects: 21"); round++ { // one bucket has so much time in each
		var err error
		if over, note, err = b.measure(ctx, inst.Name, inst.Plan, true, time.Now().Add(time.Minute)); !over || err != nil || round > 10 {
			t.Fatalf("the whole count: %t, %q, %v", over, note, err)
		}
	}
}

// Emptying takes no longer than a call may, and says that it goes on.
func TestEmptyingIsCutIntoCalls(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	fill(t, server, s)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
	defer cancel()
	err := servicetest.Once(b).Deprovision(ctx, inst)
	if _, refused := services.IsRejected(err); refused {
		t.Errorf("a deletion cut short is reported as the user's error: %v", err)
	}
	if _, err := objectstore.Dial(objecttest.Context(t), map[string]any{"endpoint": server.Endpoint()}); err == nil {
		t.Error("connected with nothing")
	}
	for range 100 {
		if err = servicetest.Once(b).Deprovision(objecttest.Context(t), inst); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// Uploads of one key by the thousand hide nothing: who does not let himself be
// counted may not write.
func TestManyUploadsOfOneKey(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Storage = 1 << 30 })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	core, ids := minio.Core{Client: s.Client}, map[string][]string{}
	for _, key := range []string{"a", "many", "z"} {
		n := 1
		if key == "many" {
			n = 1005
		}
		for range n {
			id, err := core.NewMultipartUpload(ctx, s.Bucket, key, minio.PutObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ids[key] = append(ids[key], id)
		}
	}
	var (
		notes map[string]services.Condition
		err   error
	)
	for round := 0; !strings.Contains(notes["i"].Message, "too many unfinished uploads"); round++ { // one bucket has so much time in each
		if notes, err = servicetest.Once(b).Reconcile(ctx, nil, []instance{inst}); err != nil || round > 20 {
			t.Fatalf("keep: %v, %v", notes, err)
		}
	}
	objecttest.Expect(t, s.Put(t, "key", "value"), "Access Denied")
	for _, id := range ids["many"] {
		if err := core.AbortMultipartUpload(ctx, s.Bucket, "many", id); err != nil {
			t.Fatal(err)
		}
	}
	for range 2400 {
		if notes, err = servicetest.Once(b).Reconcile(ctx, nil, []instance{inst}); err != nil || len(notes) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(notes) > 0 || err != nil {
		t.Fatalf("keep, after the uploads were aborted: %v, %v", notes, err)
	}
	s.MustPut(t, "key", "value")
}

// A file that is not an object blocks the deletion, and the error says so.
func TestWhatIsNoObject(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	stray := filepath.Join(server.BucketsFolder(), b.names.bucketOf(inst.Name), "stray")
	if err := os.Symlink("/nowhere", stray); err != nil {
		t.Fatal(err)
	}
	err := servicetest.Once(b).Deprovision(objecttest.Context(t), inst)
	if err == nil {
		t.Fatal("deleted")
	}
	t.Log(err)
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Deprovision(objecttest.Context(t), inst); err != nil {
		t.Fatal(err)
	}
}

func TestNote(t *testing.T) {
	both := note(usage.Amount{Bytes: 101 * services.Megabyte, Items: 101}, Plan{Plan: objectstore.Plan{Storage: 100 * services.Megabyte, Objects: 100}})
	if want := "storage: 101 MB of 100 MB used; writes are refused until less than 95 MB is used; objects: 101 of 100; writes are refused until there are fewer than 95: delete objects, or choose a larger plan"; both != want {
		t.Errorf("note: %s", both)
	}
}
