package s3

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestContentsAreKept(t *testing.T) {
	server := newServer(t)
	inst := objecttest.ContentsAreKept(t, sharedBackend{server.backend(t, "kept")})
	if left, err := server.leftOf(t.Context(), inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestBindingsLimit(t *testing.T) {
	objecttest.BindingsLimit(t, sharedBackend{newServer(t).backend(t, "c")})
}

func TestRoleChanges(t *testing.T) {
	objecttest.RoleChanges(t, sharedBackend{newServer(t).backend(t, "c")})
}

func TestNothingIsLost(t *testing.T) {
	server := newServer(t)
	objecttest.NothingIsLost(t, sharedBackend{server.backend(t, "c")}, sharedBackend{server.backend(t, "c")})
}

// As many bindings as a plan has by default fit into a bucket's policy on
// ext4; what does not fit is said, and leaves the others alone.
func TestRoomForBindings(t *testing.T) {
	b, ctx := newServer(t).backend(t, "prefixed"), objecttest.Context(t)
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
		objecttest.Expect(t, err, "allow fewer bindings in the plan")
		if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
			t.Error(err)
		}
		t.Logf("%d bindings fit", i)
		break
	}
	objecttest.Dial(t, first).MustPut(t, "key", "value")
}

// What somebody did to the gateway behind the broker's back is put right.
func TestKeepRepairs(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), objecttest.Context(t)
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
	if _, err := objectstore.Dial(ctx, first.Values); err == nil {
		t.Fatal("reads without a policy")
	}
	keep()
	objecttest.Dial(t, first.Values).MustPut(t, "key", "value")
	if err := b.gateway.deleteAccount(ctx, objecttest.Text(t, first.Values, "access_key_id")); err != nil {
		t.Fatal(err)
	}
	keep()
	policy, err := b.gateway.Policy(ctx, bucket)
	if err != nil || strings.Contains(string(policy), one.Name) || !strings.Contains(string(policy), two.Name) {
		t.Errorf("policy: %s, %v", policy, err)
	}
	if err := b.gateway.mark(ctx, bucket, true); err != nil { // by a plan that had limits
		t.Fatal(err)
	}
	keep()
	objecttest.Dial(t, second.Values).MustPut(t, "key", "value")
}

func TestUpdateLiftsLimits(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), objecttest.Context(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Objects = 1 })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "1", "")
	s.MustPut(t, "2", "")
	notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
	if err != nil || notes["i"].Message == "" {
		t.Fatalf("keep: %v, %v", notes, err)
	}
	objecttest.Expect(t, s.Put(t, "3", "x"), "Access Denied")
	next := inst
	next.Plan.Objects = 0
	if err := servicetest.Once(b).Update(ctx, inst, next); err != nil {
		t.Fatal(err)
	}
	s.MustPut(t, "3", "x")
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
