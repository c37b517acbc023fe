package postgres

import (
	"context"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// Reconcile takes the rights of copies that crashed, and leaves those in progress alone.
func TestLeftCopies(t *testing.T) {
	t.Parallel()
	f := newFull(t, "crashed")
	ctx, n := testContext(t), f.b.names.instance(f.inst.Name)
	f.writer.must(t, "SET ROLE NONE; CREATE TABLE mine (x int)")
	reconciled := func() string {
		t.Helper()
		if _, err := f.b.Reconcile(ctx, services.ReconcileRequest[Plan, InstanceParams]{Plans: []Plan{f.inst.Plan}, Instances: []instance{f.inst}}); err != nil {
			t.Fatal(err)
		}
		return f.server.ask(t, `SELECT format('%s roles, %s', (SELECT count(DISTINCT r.oid) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
				JOIN pg_roles b ON b.oid = m.member WHERE b.rolname = 'chandler_admin_backup' AND (r.rolname LIKE `+literal(n.database+"%")+` OR EXISTS (
					SELECT FROM pg_auth_members u WHERE u.member = r.oid AND u.roleid = `+literal(n.owner)+`::regrole))),
			(SELECT count(*) FROM pg_roles WHERE rolname = `+literal(n.restorer)+`))`)
	}
	d, err := f.b.prepareDump(ctx, n, f.inst.Plan)
	if err != nil {
		t.Fatal(err)
	}
	if got := reconciled(); got != "2 roles, 0" {
		t.Errorf("a dump in progress has %s", got)
	}
	f.writer.must(t, "DROP TABLE mine") // its owner is no longer an owner
	d.close()                           // as when its broker dies
	for range 50 {                      // the session ends some time later
		if reconciled() == "0 roles, 0" {
			break
		}
	}
	if got := reconciled(); got != "0 roles, 0" {
		t.Errorf("a dump that crashed left %s", got)
	}

	r, err := f.b.restoreTo(ctx, n)
	if err == nil {
		_, err = r.makeRestorer(ctx, f.inst.Plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := reconciled(); got != "0 roles, 1" {
		t.Errorf("a restore in progress has %s", got)
	}
	r.locked.Release(context.WithoutCancel(ctx))
	for range 50 {
		if reconciled() == "0 roles, 0" {
			break
		}
	}
	if got := reconciled(); got != "0 roles, 0" {
		t.Errorf("a restore that crashed left %s", got)
	}
	f.remove(t)
}
