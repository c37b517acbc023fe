package s3

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func rejected(t *testing.T, err error, words string) {
	t.Helper()
	message, ok := services.IsRejected(err)
	if !ok || !strings.Contains(message, words) {
		t.Errorf("%v, want a refusal with %q in it", err, words)
	}
}

// A bucket that holds something stays, with its bindings, unless the plan says
// otherwise; an orphan, whose plan is not known, as well.
func TestContentsAreKept(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "kept")
	inst := provisioned(t, b, "i", nil)
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.mustPut(t, "folder/key", "value")
	rejected(t, servicetest.Once(b).Deprovision(ctx, inst), "is not empty")
	rejected(t, servicetest.Once(b).Deprovision(ctx, instance{Name: inst.Name}), "is not empty")
	s.mustPut(t, "another", "value")
	if value, err := s.Read(ctx, "folder/key"); value != "value" || err != nil {
		t.Fatalf("after the refusal: %q, %v", value, err)
	}
	for _, key := range []string{"folder/key", "another"} {
		if err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left, err := server.leftOf(ctx, inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestBindingsLimit(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Bindings = 2 })
	one := newBinding(t, inst, "one", access.ReadWrite)
	bound(t, b, inst, one)
	two := bound(t, b, inst, newBinding(t, inst, "two", access.ReadOnly))
	three := newBinding(t, inst, "three", access.ReadWrite)
	_, err := servicetest.Once(b).Bind(ctx, inst, three)
	rejected(t, err, "has 2 bindings, and its plan allows 2")
	bound(t, b, inst, one) // again is not one more
	if err := servicetest.Once(b).Unbind(ctx, inst, one); err != nil {
		t.Fatal(err)
	}
	bound(t, b, inst, three)
	if err := dialled(t, two.Values).Ping(ctx); err != nil {
		t.Error(err)
	}
}

// A binding's identifiers used again for another role: what was is gone.
func TestRoleChanges(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", nil)
	was := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite))
	is := bound(t, b, inst, newBinding(t, inst, "b", access.ReadOnly))
	if _, err := dial(ctx, was.Values); err == nil {
		t.Error("the credentials of the first role still work")
	}
	expect(t, dialled(t, is.Values).put(t, "key", "value"), "Access Denied")
}

// As many bindings as a plan has by default fit into a bucket's policy on
// ext4; what does not fit is said, and leaves the others alone.
func TestRoomForBindings(t *testing.T) {
	b, ctx := newServer(t).backend(t, "prefixed"), testContext(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Bindings = 1000 })
	var first map[string]any
	for i := range 100 { // enough on ext4; other file systems have room for more
		bd := newBinding(t, inst, fmt.Sprint(i), access.ReadWrite)
		c, err := servicetest.Once(b).Bind(ctx, inst, bd)
		if first == nil {
			first = c.Values
		}
		if err == nil {
			continue
		}
		if i < 40 {
			t.Errorf("%d bindings fit, fewer than %d", i, 40)
		}
		expect(t, err, "allow fewer bindings in the plan")
		if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
			t.Error(err)
		}
		t.Logf("%d bindings fit", i)
		break
	}
	dialled(t, first).mustPut(t, "key", "value")
}

// Two replicas bind, unbind and keep the same instance all at the same time,
// without the engine's one-at-a-time: in the end every binding is as it should
// be.
func TestNothingIsLost(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	replicas := []*backend{server.backend(t, "c"), server.backend(t, "c")}
	inst := provisioned(t, replicas[0], "i", func(i *instance) { i.Plan.Storage = 1 << 30; i.Plan.DeleteContents = true })
	const n = 12
	bindings, credentials := make([]binding, n), make([]services.Credentials, n)
	for i := range bindings {
		bindings[i] = newBinding(t, inst, fmt.Sprint(i), []access.Role{access.ReadWrite, access.ReadOnly}[i%2])
	}
	sideBySide(t, n, func(i int) (err error) {
		credentials[i], err = servicetest.Once(replicas[i%2]).Bind(ctx, inst, bindings[i])
		_, keepErr := servicetest.Once(replicas[(i+1)%2]).Reconcile(ctx, nil, []instance{inst})
		return errors.Join(err, keepErr)
	})
	for i := range n {
		if err := dialled(t, credentials[i].Values).Ping(ctx); err != nil {
			t.Errorf("binding %d: %v", i, err)
		}
	}
	sideBySide(t, n, func(i int) error {
		_, keepErr := servicetest.Once(replicas[i%2]).Reconcile(ctx, nil, []instance{inst})
		if i%3 == 0 {
			return errors.Join(keepErr, servicetest.Once(replicas[i%2]).Unbind(ctx, inst, bindings[i]))
		}
		_, err := servicetest.Once(replicas[i%2]).Bind(ctx, inst, bindings[i])
		return errors.Join(keepErr, err)
	})
	for i := range n {
		_, err := dial(ctx, credentials[i].Values)
		if gone := i%3 == 0; gone != (err != nil) {
			t.Errorf("binding %d: unbound %t, but: %v", i, gone, err)
		}
	}
}

func sideBySide(t *testing.T, n int, work func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = work(i) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// What somebody did to the gateway behind the broker's back is put right.
func TestKeepRepairs(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", nil)
	one, two := newBinding(t, inst, "one", access.ReadWrite), newBinding(t, inst, "two", access.ReadWrite)
	first, second := bound(t, b, inst, one), bound(t, b, inst, two)
	bucket := b.names.bucketOf(inst.Name)
	keep := func() {
		t.Helper()
		if notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst}); err != nil || len(notes) > 0 {
			t.Fatalf("keep: %v, %v", notes, err)
		}
	}
	if err := b.gateway.putPolicy(ctx, bucket, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(ctx, first.Values); err == nil {
		t.Fatal("reads without a policy")
	}
	keep()
	dialled(t, first.Values).mustPut(t, "key", "value")
	if err := b.gateway.deleteAccount(ctx, text(t, first.Values, "access_key_id")); err != nil {
		t.Fatal(err)
	}
	keep()
	policy, err := b.gateway.policy(ctx, bucket)
	if err != nil || strings.Contains(string(policy), one.Name) || !strings.Contains(string(policy), two.Name) {
		t.Errorf("policy: %s, %v", policy, err)
	}
	if err := b.gateway.mark(ctx, bucket, true); err != nil { // by a plan that had limits
		t.Fatal(err)
	}
	keep()
	dialled(t, second.Values).mustPut(t, "key", "value")
}

func TestUpdateLiftsLimits(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Objects = 1 })
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.mustPut(t, "1", "")
	s.mustPut(t, "2", "")
	notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
	if err != nil || notes["i"].Message == "" {
		t.Fatalf("keep: %v, %v", notes, err)
	}
	expect(t, s.put(t, "3", "x"), "Access Denied")
	next := inst
	next.Plan.Objects = 0
	if err := servicetest.Once(b).Update(ctx, inst, next); err != nil {
		t.Fatal(err)
	}
	s.mustPut(t, "3", "x")
	if err := servicetest.Once(b).Update(ctx, next, inst); err != nil { // back: it is over again
		t.Fatal(err)
	}
	if notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst}); err != nil || !strings.HasPrefix(notes["i"].Message, "objects: 3 of 1;") {
		t.Fatalf("keep: %v, %v", notes, err)
	}
	if err := servicetest.Once(b).Update(ctx, instance{Name: "absent"}, instance{Name: "absent"}); err == nil {
		t.Error("an absent bucket was updated")
	}
}
