package objecttest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/servicetest"
)

type (
	// Instance is an instance of these backends.
	Instance = objectstore.Instance
	// Binding is a binding of these backends.
	Binding = services.Binding[objectstore.BindingParams]
)

// Backend is what the shared tests need.
type Backend interface {
	services.Backend[objectstore.Plan, objectstore.InstanceParams, objectstore.BindingParams]
	services.Readier
	services.Lister
	services.Reconciler[objectstore.Plan, objectstore.InstanceParams]
}

// NewInstance makes an instance with a changed default plan.
func NewInstance(id string, change func(*Instance)) Instance {
	inst := Instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
	if change != nil {
		change(&inst)
	}
	return inst
}

// NewBinding makes a binding with a seed of its own.
func NewBinding(t testing.TB, inst Instance, id string, role access.Role) Binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return Binding{ID: id, Name: services.BindingName(inst.ID, id), Params: objectstore.BindingParams{Role: role}, Seed: seed}
}

// Provisioned is an instance that exists. What is left of it at the end of t is deleted.
func Provisioned(t *testing.T, b Backend, id string, change func(*Instance)) Instance {
	t.Helper()
	inst := NewInstance(id, change)
	t.Cleanup(func() {
		last := inst
		last.Plan.DeleteContents = true
		_ = Deprovision(context.Background(), b, last) // the server may be gone
	})
	if err := servicetest.Once(b).Provision(Context(t), inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

// Deprovision deletes an instance, in as many calls as it takes.
func Deprovision(ctx context.Context, b Backend, inst Instance) (err error) {
	for range 100 {
		err = servicetest.Once(b).Deprovision(ctx, inst)
		if _, notYet := errors.AsType[*services.NotYetError](err); !notYet {
			break
		}
	}
	return err
}

// Bound is what an application gets.
func Bound(t *testing.T, b Backend, inst Instance, bd Binding) services.Credentials {
	t.Helper()
	c, err := servicetest.Once(b).Bind(Context(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ContentsAreKept shows that a bucket that holds something stays, with its bindings, unless the plan says
// otherwise; an orphan, whose plan is not known, as well.
func ContentsAreKept(t *testing.T, b Backend) (inst Instance) {
	ctx := Context(t)
	inst = Provisioned(t, b, "i", nil)
	s := Dial(t, Bound(t, b, inst, NewBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "folder/key", "value")
	Rejected(t, servicetest.Once(b).Deprovision(ctx, inst), "is not empty")
	Rejected(t, servicetest.Once(b).Deprovision(ctx, Instance{Name: inst.Name}), "is not empty")
	s.MustPut(t, "another", "value")
	if value, err := s.Read(ctx, "folder/key"); value != "value" || err != nil {
		t.Fatalf("after the refusal: %q, %v", value, err)
	}
	for _, key := range []string{"folder/key", "another"} {
		if err := s.Client.RemoveObject(ctx, s.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

// BindingsLimit goes over the limit of bindings.
func BindingsLimit(t *testing.T, b Backend) {
	ctx := Context(t)
	inst := Provisioned(t, b, "i", func(i *Instance) { i.Plan.Bindings = 2 })
	one := NewBinding(t, inst, "one", access.ReadWrite)
	Bound(t, b, inst, one)
	two := Bound(t, b, inst, NewBinding(t, inst, "two", access.ReadOnly))
	three := NewBinding(t, inst, "three", access.ReadWrite)
	_, err := servicetest.Once(b).Bind(ctx, inst, three)
	Rejected(t, err, "has 2 bindings, and its plan allows 2")
	Bound(t, b, inst, one) // again is not one more
	if err := servicetest.Once(b).Unbind(ctx, inst, one); err != nil {
		t.Fatal(err)
	}
	Bound(t, b, inst, three)
	if err := Dial(t, two.Values).Ping(ctx); err != nil {
		t.Error(err)
	}
}

// RoleChanges uses a binding's identifiers again for another role: the first credentials end.
func RoleChanges(t *testing.T, b Backend) {
	ctx := Context(t)
	inst := Provisioned(t, b, "i", nil)
	was := Bound(t, b, inst, NewBinding(t, inst, "b", access.ReadWrite))
	is := Bound(t, b, inst, NewBinding(t, inst, "b", access.ReadOnly))
	if _, err := objectstore.Dial(ctx, was.Values); err == nil {
		t.Error("the credentials of the first role still work")
	}
	Expect(t, Dial(t, is.Values).Put(t, "key", "value"), "Access")
}

// NothingIsLost lets replicas bind, unbind and reconcile one instance at the same time, which the
// engine would serialize. In the end every binding is as it should be.
func NothingIsLost(t *testing.T, replicas ...Backend) {
	ctx := Context(t)
	inst := Provisioned(t, replicas[0], "i", func(i *Instance) { i.Plan.Storage = 1 << 30; i.Plan.DeleteContents = true })
	const n = 12
	bindings, credentials := make([]Binding, n), make([]services.Credentials, n)
	for i := range bindings {
		bindings[i] = NewBinding(t, inst, fmt.Sprint(i), []access.Role{access.ReadWrite, access.ReadOnly}[i%2])
	}
	SideBySide(t, n, func(i int) (err error) {
		credentials[i], err = servicetest.Once(replicas[i%2]).Bind(ctx, inst, bindings[i])
		_, keepErr := servicetest.Once(replicas[(i+1)%2]).Reconcile(ctx, nil, []Instance{inst})
		return errors.Join(err, keepErr)
	})
	for i := range n {
		if err := Dial(t, credentials[i].Values).Ping(ctx); err != nil {
			t.Errorf("binding %d: %v", i, err)
		}
	}
	SideBySide(t, n, func(i int) error {
		_, keepErr := servicetest.Once(replicas[i%2]).Reconcile(ctx, nil, []Instance{inst})
		if i%3 == 0 {
			return errors.Join(keepErr, servicetest.Once(replicas[i%2]).Unbind(ctx, inst, bindings[i]))
		}
		_, err := servicetest.Once(replicas[i%2]).Bind(ctx, inst, bindings[i])
		return errors.Join(keepErr, err)
	})
	for i := range n {
		_, err := objectstore.Dial(ctx, credentials[i].Values)
		if gone := i%3 == 0; gone != (err != nil) {
			t.Errorf("binding %d: unbound %t, but: %v", i, gone, err)
		}
	}
}
