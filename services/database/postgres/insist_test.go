package postgres

import (
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// within fails the test if do takes longer than the limit.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took > limit {
		t.Errorf("%s took %s", what, took)
	}
}

// A SECURITY DEFINER function of a binding lets another binding change the first
// one's role in a transaction that stays open.
func TestUnbindBehindAnothersTransaction(t *testing.T) {
	u := newUsed(t, newServer(t), "behalf", "i")
	_, other := u.bind(t, "other", access.ReadWrite)
	bd, own := u.bind(t, "own", access.ReadWrite)
	own.must(t, `SET ROLE NONE; CREATE SCHEMA own; GRANT USAGE ON SCHEMA own TO PUBLIC;
		CREATE FUNCTION own.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'ALTER ROLE CURRENT_USER PASSWORD ''x'''`)
	other.must(t, "BEGIN; SELECT own.f()")
	within(t, 10*time.Second, "unbind", func() { u.unbind(t, bd) })
	if own.Ping(testContext(t)) == nil {
		t.Error("the session was not ended")
	}
	u.gone(t)
}

// A role with a grant option on a database can block changes of it from another database.
func TestDeprovisionBehindAnothersTransaction(t *testing.T) {
	server := newServer(t)
	u, v := newUsed(t, server, "granted", "i"), newUsed(t, server, "granted", "j")
	bd, other := v.bind(t, "other", access.ReadWrite)
	_, own := u.bind(t, "own", access.ReadWrite)
	grant := "GRANT CONNECT ON DATABASE " + u.b.names.instance(u.inst.Name).database + " TO "
	own.must(t, grant+v.b.names.role(bd.Name)+" WITH GRANT OPTION")
	other.must(t, "SET ROLE NONE; BEGIN; "+grant+v.b.names.instance(v.inst.Name).owner)
	within(t, 10*time.Second, "deprovision", func() {
		if err := servicetest.Patient(u.b).Deprovision(testContext(t), u.inst); err != nil {
			t.Error(err)
		}
	})
	v.gone(t)
}

// An open transaction that grants rights on a full database does not prevent locking it.
func TestStorageLimitBehindATransaction(t *testing.T) {
	f := newFull(t, "holding")
	f.writer.must(t, fill)
	n := f.b.names.instance(f.inst.Name)
	dialled(t, f.writerCreds).must(t, "BEGIN; GRANT CONNECT ON DATABASE "+n.database+" TO "+n.owner)
	f.reconcile(t)
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	f.remove(t)
}

// Settings of a database may be strings that take 2 MB on the disk and 200 MB in memory. They
// affect neither their instance nor others.
func TestLargeSettings(t *testing.T) {
	server := newServer(t)
	u, v := newUsed(t, server, "large", "i"), newUsed(t, server, "large", "j")
	bd, own := u.bind(t, "own", access.ReadWrite)
	_, later := u.bind(t, "later", access.ReadWrite)
	later.must(t, "SELECT 1")
	own.must(t, "CREATE TABLE t (i int); SET ROLE NONE; CREATE SCHEMA own")
	db := u.b.names.instance(u.inst.Name).database
	own.must(t, "DO $$ BEGIN EXECUTE 'ALTER DATABASE "+db+" SET search_path = ' || quote_literal('\"' || repeat(chr(1), 100000000) || '\"'); END $$")
	u.unbind(t, bd)
	if _, err := servicetest.Once(u.b).Reconcile(testContext(t), nil, []instance{u.inst, v.inst}); err != nil {
		t.Error(err)
	}
	if n := server.ask(t, "SELECT coalesce(max(pg_column_size(setconfig)), 0) FROM pg_db_role_setting WHERE setrole = 0"); len(n) > 4 {
		t.Errorf("settings of %s bytes are left", n)
	}
	if err := servicetest.Patient(v.b).Deprovision(testContext(t), v.inst); err != nil {
		t.Error(err)
	}
	u.gone(t)
}
