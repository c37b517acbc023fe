package postgres

import (
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// actsAs is the role that the application's statements run as.
func (c *client) actsAs(t *testing.T) string {
	t.Helper()
	var as string
	if err := c.Conn.QueryRowContext(testContext(t), "SELECT current_user").Scan(&as); err != nil {
		t.Fatal(err)
	}
	return as
}

func (f *full) verify(t *testing.T, bd binding) {
	t.Helper()
	if err := servicetest.Once(f.b).Verify(testContext(t), f.inst, bd); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

// Verify makes a binding's sessions act as the owner role again, if its holder has changed that.
func TestVerifyPutsTheOwnerRoleBack(t *testing.T) {
	f := newFull(t, "verify")
	n, role := f.b.names.instance(f.inst.Name), f.b.names.role(f.writing.Name)
	f.writer.must(t, "SET ROLE NONE; ALTER ROLE "+role+" IN DATABASE "+n.database+" RESET role")
	if as := dialled(t, f.writerCreds).actsAs(t); as != role {
		t.Fatalf("acts as %s before", as)
	}
	f.verify(t, f.writing)
	if as := dialled(t, f.writerCreds).actsAs(t); as != n.owner {
		t.Errorf("acts as %s", as)
	}
	f.remove(t)
}

// Verify does not change credentials that work, or that it cannot try because all connections
// are in use.
func TestVerifyLeavesAloneWhatWorks(t *testing.T) {
	f := newFull(t, "verified")
	role := f.b.names.role(f.writing.Name)
	f.writer.must(t, "SET ROLE NONE; ALTER ROLE "+role+" SET work_mem = '8MB'")
	settings := func() string {
		return f.server.ask(t, "SELECT string_agg(setconfig::text, ' ' ORDER BY setdatabase) FROM pg_db_role_setting WHERE setrole = '"+role+"'::regrole")
	}
	before := settings()
	f.verify(t, f.writing)
	for range f.inst.Plan.Connections - 2 { // the reader and the writer hold one each
		dialled(t, f.writerCreds)
	}
	f.verify(t, f.writing)
	if after := settings(); after != before {
		t.Errorf("settings: %s, were %s", after, before)
	}
	f.remove(t)
}

// The repair of a locked instance's binding does not unlock it.
func TestVerifyKeepsAFullDatabaseLocked(t *testing.T) {
	f := newFull(t, "locked")
	f.writer.must(t, fill)
	f.reconcile(t)
	f.verify(t, f.writing)
	dialled(t, f.writerCreds).must(t, "ALTER ROLE "+f.b.names.role(f.writing.Name)+" PASSWORD 'my own'")
	if _, err := dial(testContext(t), f.writerCreds.Values); err == nil {
		t.Fatal("the password was not changed")
	}
	f.verify(t, f.writing)
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	f.remove(t)
}
