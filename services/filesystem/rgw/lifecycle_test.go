package rgw

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func deletable(i *objecttest.Instance) { i.Plan.DeleteContents = true }

// expectNothing fails t if something of the instance is left.
func (s *testServer) expectNothing(t *testing.T, inst objecttest.Instance) {
	t.Helper()
	if left, err := s.leftOf(t)(objecttest.Context(t), inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestContentsAreKept(t *testing.T) {
	server := newServer(t)
	server.expectNothing(t, objecttest.ContentsAreKept(t, server.backend(t)))
}

func TestBindingsLimit(t *testing.T) { objecttest.BindingsLimit(t, newServer(t).backend(t)) }

func TestRoleChanges(t *testing.T) { objecttest.RoleChanges(t, newServer(t).backend(t)) }

func TestNothingIsLost(t *testing.T) {
	server := newServer(t)
	objecttest.NothingIsLost(t, server.backend(t), server.backend(t))
}

// As many bindings as a plan may have fit into a user.
func TestManyBindings(t *testing.T) {
	b, ctx := newServer(t).backend(t), objecttest.Context(t)
	inst := objecttest.Provisioned(t, b, "i", func(i *objecttest.Instance) { i.Plan.Bindings = 1000; deletable(i) })
	user := b.names.user(inst.Name, "rw")
	for i := range 300 {
		if _, err := b.gateway.createKey(ctx, user, b.names.newKey(inst.Name, strings.Repeat("a", 26), access.ReadWrite)); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
	}
	objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values).MustPut(t, "key", "value")
}

func reconcile(t *testing.T, b *backend, inst objecttest.Instance) string {
	t.Helper()
	b.scans.Forget(inst.Name)
	notes, err := servicetest.Once(b).Reconcile(objecttest.Context(t), nil, []objecttest.Instance{inst})
	if err != nil {
		t.Fatal(err)
	}
	return notes[inst.ID].Message
}

// What somebody did to the gateway behind the broker's back is put right.
func TestReconcileRepairs(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t)
	inst := objecttest.Provisioned(t, b, "i", func(i *objecttest.Instance) { i.Plan.Objects = 1; deletable(i) })
	s := objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values)
	u, err := b.gateway.user(ctx, b.names.user(inst.Name, owner))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.gateway.as(u.Keys[0]).PutPolicy(ctx, s.Bucket, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.gateway.setQuota(ctx, u.ID, Plan{}); err != nil {
		t.Fatal(err)
	}
	if err := b.gateway.removeKey(ctx, u.ID, u.Keys[0].AccessKey); err != nil {
		t.Fatal(err)
	}
	if s.Ping(ctx) == nil {
		t.Fatal("reads without a policy")
	}
	reconcile(t, b, inst)
	s.MustPut(t, "1", "x")
	objecttest.ExpectCode(t, s.Put(t, "2", "x"), refusedAtOnce)
}

// A larger plan takes effect at once, a smaller one with the next write; nothing is deleted.
func TestUpdate(t *testing.T) {
	b, ctx := newServer(t).backend(t), objecttest.Context(t)
	inst := objecttest.Provisioned(t, b, "i", func(i *objecttest.Instance) { i.Plan.Objects = 2; deletable(i) })
	s := objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "1", "x")
	s.MustPut(t, "2", "x")
	objecttest.ExpectCode(t, s.Put(t, "3", "x"), refusedAtOnce)
	if note := reconcile(t, b, inst); !strings.HasPrefix(note, "objects: 2 of 2; writes that exceed this are refused") {
		t.Errorf("note: %q", note)
	}
	larger := inst
	larger.Plan.Objects = 0
	if err := servicetest.Once(b).Update(ctx, inst, larger); err != nil {
		t.Fatal(err)
	}
	s.MustPut(t, "3", "x")
	if note := reconcile(t, b, larger); note != "" {
		t.Errorf("note: %q", note)
	}
	if err := servicetest.Once(b).Update(ctx, larger, inst); err != nil {
		t.Fatal(err)
	}
	objecttest.ExpectCode(t, s.Put(t, "4", "x"), refusedAtOnce)
	if value, err := s.Read(ctx, "3"); value != "x" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	absent := objecttest.Instance{Name: strings.Repeat("a", 26)}
	objecttest.Expect(t, servicetest.Once(b).Update(ctx, absent, absent), "does not exist; provision the instance again")
}

// An instance whose bucket or users somebody deleted: bind says so, and deprovision removes the rest.
func TestDeletedByHand(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b, api := server.backend(t), server.api(t)
	for name, remove := range map[string]func(inst objecttest.Instance) error{
		"bucket": func(inst objecttest.Instance) error {
			u, err := b.gateway.user(ctx, b.names.user(inst.Name, owner))
			if err != nil {
				return err
			}
			return b.gateway.as(u.Keys[0]).DeleteBucket(ctx, b.names.bucketOf(inst.Name))
		},
		"user": func(inst objecttest.Instance) error {
			return api.RemoveUser(ctx, admin.User{ID: b.names.user(inst.Name, "rw")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inst := objecttest.Provisioned(t, b, name, deletable)
			if err := remove(inst); err != nil {
				t.Fatal(err)
			}
			_, err := servicetest.Once(b).Bind(ctx, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite))
			objecttest.Expect(t, err, "does not exist; provision the instance again")
			if err := objecttest.Deprovision(ctx, b, inst); err != nil {
				t.Error(err)
			}
			server.expectNothing(t, inst)
		})
	}
}

// A key that the gateway lists and does not accept, as after a crash of the gateway, is replaced.
func TestBrokenKeyIsReplaced(t *testing.T) {
	b, ctx := newServer(t).backend(t), objecttest.Context(t)
	inst := objecttest.Provisioned(t, b, "i", deletable)
	bd := objecttest.NewBinding(t, inst, "b", access.ReadWrite)
	late, err := b.gateway.createKey(ctx, b.names.user(inst.Name, "rw"), b.names.newKey(inst.Name, bd.Name, access.ReadWrite))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := b.works(ctx, inst.Name, late); !ok || err != nil {
		t.Fatalf("a key that was just made: %t, %v", ok, err)
	}
	late.AccessKey += "x"
	if ok, err := b.works(ctx, inst.Name, late); ok || err != nil {
		t.Errorf("an unknown key: %t, %v", ok, err)
	}
	// Two keys of one binding, as of a request that arrived late: one is kept.
	if _, err := b.gateway.createKey(ctx, b.names.user(inst.Name, "rw"), b.names.newKey(inst.Name, bd.Name, access.ReadWrite)); err != nil {
		t.Fatal(err)
	}
	objecttest.Bound(t, b, inst, bd)
	keys, err := b.keys(ctx, inst.Name)
	if len(keys) != 1 || err != nil {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// Emptying deletes versions, delete markers, objects with any key and unfinished uploads, and
// topics; a call takes no longer than it may.
func TestEverythingGoes(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t)
	inst := objecttest.Provisioned(t, b, "i", deletable)
	values := objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values
	s, me := objecttest.Dial(t, values), objecttest.Raw(t, values)
	u, err := b.gateway.user(ctx, b.names.user(inst.Name, owner))
	if err != nil {
		t.Fatal(err)
	}
	versions := objectstore.Request{Method: http.MethodPut, Bucket: s.Bucket, Query: objecttest.Query("versioning"), Body: []byte(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)}
	s.MustPut(t, "before versions", "x")
	if err := b.gateway.as(u.Keys[0]).Call(ctx, versions, nil); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, key := range append(objecttest.OddKeys(), "\x01\x02", "a\x0b/b\x1f", "\ufffd", "\xff\xfe", "../up", "//", "mixed \x7f\ufffe/end") {
		for range 2 {
			if err := me.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: s.Bucket, Key: key, Body: []byte("x")}, nil); err != nil {
				t.Logf("the gateway does not take %q: %v", key, err)
				break
			}
			taken++
		}
	}
	if taken < 2*len(objecttest.OddKeys()) {
		t.Errorf("%d versions were taken", taken)
	}
	if err := s.Client.RemoveObject(ctx, s.Bucket, "a/b", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	core := minio.Core{Client: s.Client}
	for i := range 3 {
		id, err := core.NewMultipartUpload(ctx, s.Bucket, fmt.Sprint("upload", i%2), minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := core.PutObjectPart(ctx, s.Bucket, fmt.Sprint("upload", i%2), id, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := me.Call(ctx, topicCall("Action=CreateTopic&Name=t", false), nil); err != nil {
		t.Logf("topics: %v", err)
	}
	if err := objecttest.Deprovision(ctx, b, inst); err != nil {
		t.Fatal(err)
	}
	server.expectNothing(t, inst)
	expectNoTopics(t, server, b, inst)
}

// expectNoTopics looks for topics in the tenant of an instance that is gone.
func expectNoTopics(t *testing.T, server *testServer, b *backend, inst objecttest.Instance) {
	t.Helper()
	api, id := server.api(t), b.names.user(inst.Name, "late")
	u, err := api.CreateUser(objecttest.Context(t), admin.User{ID: id, DisplayName: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.RemoveUser(context.Background(), admin.User{ID: id}) })
	var answer []byte
	err = b.gateway.as(u.Keys[0]).Call(objecttest.Context(t), topicCall("Action=ListTopics", true), &answer)
	if err == nil && strings.Contains(string(answer), "<TopicArn>") {
		t.Errorf("topics are left: %s", answer)
	}
}

// A call that empties a bucket ends in time, and the next one goes on.
func TestEmptyingIsCutIntoCalls(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t)
	inst := objecttest.Provisioned(t, b, "i", deletable)
	values := objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "b", access.ReadWrite)).Values
	s, me := objecttest.Dial(t, values), objecttest.Raw(t, values)
	objecttest.SideBySide(t, 8, func(i int) error {
		for j := range 150 {
			if err := me.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: s.Bucket, Key: fmt.Sprint("many/", i, "/", j), Body: []byte("x")}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	u, err := b.gateway.user(ctx, b.names.user(inst.Name, owner))
	if err != nil {
		t.Fatal(err)
	}
	key := b.gateway.as(u.Keys[0])
	if err := emptyUntil(ctx, key, s.Bucket, time.Now().Add(-time.Second)); err != errDeleting { //nolint:errorlint // itself
		t.Errorf("without time: %v", err)
	}
	if page, err := key.Versions(ctx, s.Bucket); len(page) != 1200-batch || err != nil {
		t.Errorf("%d objects are left, %v", len(page), err)
	}
	if err := objecttest.Deprovision(ctx, b, inst); err != nil {
		t.Fatal(err)
	}
	server.expectNothing(t, inst)
}
