package mysql

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// define makes one of everything that works with its definer's rights.
var define = []string{
	"CREATE TABLE t (n INT PRIMARY KEY, v VARCHAR(20))",
	"INSERT INTO t VALUES (1, 'one')",
	"CREATE VIEW v AS SELECT * FROM t",
	"CREATE PROCEDURE p() INSERT INTO t VALUES (2, 'two')",
	"CREATE FUNCTION f() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM t)",
	"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = CONCAT(NEW.v, '!')",
}

// Other bindings can use what a removed binding defined, and its account is dropped with the
// last of it.
func TestDefinersOutliveTheirBinding(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("defined", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	gone, first := bound(t, b, inst, "gone", access.ReadWrite)
	_, second := bound(t, b, inst, "stays", access.ReadWrite)
	_, reading := bound(t, b, inst, "reads", access.ReadOnly)
	dialled(t, first).must(t, define...)
	for range 2 {
		if err := servicetest.Patient(b).Unbind(ctx, inst, gone); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mysqldb.Dial(ctx, first.Values); err == nil {
		t.Fatal("the account of a binding that is gone still opens")
	}
	s := dialled(t, second)
	s.must(t, "CALL p()", "INSERT INTO t VALUES (3, 'three')")
	if got := s.ask(t, "SELECT CONCAT(f(), GROUP_CONCAT(v ORDER BY n)) FROM v"); got != "3one,two!,three!" {
		t.Errorf("through function, view, procedure and trigger: %q", got)
	}
	if got := dialled(t, reading).ask(t, "SELECT COUNT(*) FROM v"); got != "3" {
		t.Errorf("a reader sees %s rows in the view", got)
	}
	listed(t, b, inst, "reads", "stays")

	// The other drops all of it; the next unbind drops the account.
	s.must(t, "DROP VIEW v", "DROP PROCEDURE p", "DROP FUNCTION f", "DROP TRIGGER g")
	if err := servicetest.Patient(b).Unbind(ctx, inst, newBinding(t, inst, "never was", access.ReadWrite)); err != nil {
		t.Fatal(err)
	}
	accounts, err := server.column(ctx, "SELECT name FROM chandler.accounts WHERE locked")
	if err != nil || len(accounts) > 0 {
		t.Errorf("accounts left of bindings that are gone: %v, %v", accounts, err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// An account that stayed as a definer is dropped with its instance, and is used again if its
// binding is made again.
func TestDefinerComesBackAndGoes(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("again", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", access.ReadWrite)
	dialled(t, credentials).must(t, define...)
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	listed(t, b, inst)
	_, credentials = bound(t, b, inst, "b", access.ReadWrite)
	dialled(t, credentials).must(t, "CALL p()")
	listed(t, b, inst, "b")
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// listed fails t if List returns anything but the instance and these bindings.
func listed(t *testing.T, b *backend, inst instance, bindings ...string) {
	t.Helper()
	found, err := b.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"": true}
	for _, id := range bindings {
		want[newBinding(t, inst, id, access.ReadWrite).Name] = true
	}
	got := map[string]bool{}
	for _, f := range found {
		if f.Instance != inst.Name {
			t.Errorf("listed of another instance: %+v", f)
		}
		got[f.Binding] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

// A read_only binding cannot define anything, and what it defined when it was read_write can no
// longer write.
func TestReadOnlyDefinesNothing(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	once, credentials := bound(t, b, inst, "once", access.ReadWrite)
	dialled(t, credentials).must(t, append(define[:len(define):len(define)], "CREATE FUNCTION w() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (9, 'nine'); RETURN 1; END",
		"CREATE VIEW writes AS SELECT w()")...)
	if err := servicetest.Patient(b).Unbind(ctx, inst, once); err != nil {
		t.Fatal(err)
	}
	once.Params.Role, once.Seed = access.ReadOnly, newBinding(t, inst, "once", access.ReadOnly).Seed
	again, err := servicetest.Once(b).Bind(ctx, inst, once)
	if err != nil {
		t.Fatal(err)
	}
	s := dialled(t, again)
	for _, refused := range []string{
		"CREATE VIEW mine AS SELECT * FROM t",
		"CREATE OR REPLACE VIEW v AS SELECT 1",
		"ALTER VIEW v AS SELECT 1",
		"CREATE PROCEDURE mine() INSERT INTO t VALUES (5, '')",
		"CREATE OR REPLACE FUNCTION f() RETURNS INT RETURN 1",
		"ALTER PROCEDURE p SQL SECURITY INVOKER",
		"CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
		"CREATE EVENT mine ON SCHEDULE EVERY 1 SECOND DO INSERT INTO t VALUES (6, '')",
		"CREATE SEQUENCE mine", "CREATE TEMPORARY TABLE mine (n INT)", "CREATE TABLE mine (n INT)",
		"CREATE PACKAGE mine AS PROCEDURE p(); END",
		"CALL p()", "SELECT w()", "SELECT * FROM writes",
		"GRANT SELECT ON v TO PUBLIC", "LOCK TABLES t WRITE",
	} {
		if err := s.run(t, refused); err == nil {
			t.Errorf("%s: was let through", refused)
		}
	}
	_, writer := bound(t, b, inst, "writer", access.ReadWrite)
	if err := dialled(t, writer).run(t, "CALL p()"); err == nil {
		t.Error("what a binding defined before it became read_only still writes")
	}
	if got := s.ask(t, "SELECT COUNT(*) FROM t"); got != "1" {
		t.Errorf("%s rows", got)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}
