package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestLifecycle(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "life")
	inst := newInstance("life", nil)
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	one, two := newBinding(t, inst, "1", access.ReadWrite), newBinding(t, inst, "2", access.ReadWrite)
	c1, err := servicetest.Once(b).Bind(ctx, inst, one)
	if err != nil {
		t.Fatal(err)
	}
	again, err := servicetest.Once(b).Bind(ctx, inst, one)
	if diff := cmp.Diff(c1, again); err != nil || diff != "" {
		t.Fatalf("a repeated bind: %v\n%s", err, diff)
	}
	c2, err := servicetest.Once(b).Bind(ctx, inst, two)
	if err != nil {
		t.Fatal(err)
	}
	s1, s2 := dialled(t, c1), dialled(t, c2)
	if err := s1.Write(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if v, err := s2.Read(ctx, "k"); v != "v" || err != nil {
		t.Fatalf("the second binding reads %q, %v", v, err)
	}
	s2.must(t, "ALTER TABLE chandler_probe ADD COLUMN other int; DROP TABLE chandler_probe")
	if err := servicetest.Patient(b).Unbind(ctx, inst, one); err != nil {
		t.Fatal(err)
	}
	if err := s1.Ping(ctx); err == nil {
		t.Fatal("the session outlived its binding")
	}
	if err := s2.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left := server.left(t, "life"); left != nil {
		t.Fatalf("left behind: %v", left)
	}
}
