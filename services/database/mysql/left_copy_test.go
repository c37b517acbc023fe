package mysql

import (
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// Reconcile closes the account of a copy that crashed, and none that is at work.
func TestLeftCopies(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst, _, _ := provisioned(t, b, "crashed")
	name := b.names.database(inst.Name)
	d, err := b.prepareDump(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	open := func() bool {
		t.Helper()
		if _, err := b.Reconcile(ctx, services.ReconcileRequest[Plan, InstanceParams]{Plans: []Plan{inst.Plan}, Instances: []instance{inst}}); err != nil {
			t.Fatal(err)
		}
		found, err := server.column(ctx, "SELECT name FROM chandler.accounts WHERE name = '"+name+"' AND NOT locked")
		if err != nil {
			t.Fatal(err)
		}
		return len(found) > 0
	}
	if !open() {
		t.Error("a copy lost its account")
	}
	d.copier.Release(ctx) // as when its broker dies
	eventually(t, func() bool { return !open() })
	deprovisioned(t, b, inst)
	server.nothingLeft(t)
}
