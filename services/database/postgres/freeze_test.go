package postgres

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// locked fills the database until the broker locks it.
func (f *full) locked(t *testing.T) (writer, reader *client) {
	t.Helper()
	f.writer.must(t, fill)
	f.converge(t)
	return dialled(t, f.writerCreds), dialled(t, f.readerCreds)
}

// Routines, triggers and rules that run with the owner role's rights cannot write while the
// database is full, and work as before afterwards.
func TestFullDatabaseAgainstBorrowedRights(t *testing.T) {
	f := newFull(t, "borrowed")
	owner := f.b.names.instance(f.inst.Name).owner
	f.writer.must(t, `CREATE TABLE sink (n int); CREATE TABLE source AS SELECT 1 AS n; CREATE TABLE ruled AS SELECT 1 AS n;
		GRANT DELETE ON ruled, source TO PUBLIC;
		CREATE SCHEMA "S 1"; GRANT USAGE ON SCHEMA "S 1" TO PUBLIC;
		CREATE FUNCTION "S 1"."F"(a int, b text = '') RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.sink VALUES (a)';
		CREATE PROCEDURE p(a int) LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.sink VALUES (a)';
		CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.sink';
		CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO public.sink VALUES (3); RETURN OLD; END';
		CREATE TRIGGER fires BEFORE DELETE ON source FOR EACH ROW EXECUTE FUNCTION fired();
		CREATE RULE r AS ON DELETE TO ruled DO ALSO INSERT INTO sink VALUES (4)`)
	f.reader.must(t, `SELECT "S 1"."F"(1)`)
	writer, reader := f.locked(t)
	for _, refused := range []string{`SELECT "S 1"."F"(1)`, "CALL p(2)", "DELETE FROM source", "DELETE FROM ruled"} {
		expect(t, writer.run(t, refused), "permission denied")
		expect(t, reader.run(t, refused), "permission denied")
	}
	writer.must(t, "SELECT counted(); TRUNCATE big")
	f.converge(t)
	dialled(t, f.writerCreds).must(t, `SELECT "S 1"."F"(1); CALL p(2); DELETE FROM source; DELETE FROM ruled; DROP FUNCTION "S 1"."F"`)
	again := dialled(t, f.writerCreds)
	var definers string
	err := again.Conn.QueryRowContext(testContext(t), `SELECT string_agg(DISTINCT proowner::regrole || ' ' || prosecdef, ', ')
		FROM pg_proc WHERE proname IN ('p', 'counted', 'fired')`).Scan(&definers)
	if err != nil || definers != owner+" true" {
		t.Errorf("routines afterwards: %s, %v", definers, err)
	}
	f.remove(t)
}

// A read_only binding that was allowed to create objects cannot write to them while the
// database is full, and can afterwards.
func TestFullDatabaseAgainstReadersObjects(t *testing.T) {
	for name, as := range map[string]string{"of its own": "", "of its group": "SET ROLE reader; "} {
		t.Run(name, func(t *testing.T) {
			f := newFull(t, "owning")
			as = strings.ReplaceAll(as, "reader", f.b.names.instance(f.inst.Name).reader)
			f.writer.must(t, "CREATE SCHEMA free; GRANT ALL ON SCHEMA free TO PUBLIC")
			f.reader.must(t, as+`CREATE TABLE free.mine (n int); GRANT ALL ON free.mine TO PUBLIC;
				CREATE FUNCTION free.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO free.mine VALUES (1)'`)
			f.writer.must(t, "SELECT free.f(); INSERT INTO free.mine VALUES (1); "+fill)
			f.converge(t)
			writer := dialled(t, f.writerCreds)
			for _, refused := range []string{"SELECT free.f()", "INSERT INTO free.mine VALUES (1)"} {
				expect(t, writer.run(t, refused), "permission denied")
			}
			if _, err := dial(testContext(t), f.readerCreds.Values); err == nil {
				t.Error("a read_only binding that owns tables connects")
			}
			writer.must(t, "TRUNCATE big")
			f.converge(t)
			dialled(t, f.readerCreds).must(t, as+"INSERT INTO free.mine VALUES (1)")
			f.remove(t)
		})
	}
}

// PostgreSQL lets every role make large objects. A binding that does so in a full database
// cannot connect until space is free.
func TestFullDatabaseAgainstLargeObjects(t *testing.T) {
	f := newFull(t, "large")
	writer, reader := f.locked(t)
	for _, c := range []*client{writer, reader} {
		c.must(t, "SELECT lo_from_bytea(0, '\\x00')")
	}
	f.converge(t)
	for _, creds := range []services.Credentials{f.writerCreds, f.readerCreds} {
		if _, err := dial(testContext(t), creds.Values); err == nil {
			t.Error("connects after it wrote a large object")
		}
	}
	if writer.Ping(testContext(t)) == nil || reader.Ping(testContext(t)) == nil {
		t.Error("its session was not ended")
	}
	large := f.inst
	large.Plan.Storage = services.Gigabyte
	if err := servicetest.Once(f.b).Update(testContext(t), f.inst, large); err != nil {
		t.Fatal(err)
	}
	dialled(t, f.writerCreds).must(t, "INSERT INTO big VALUES (1)")
	dialled(t, f.readerCreds).must(t, "SELECT 1")
	f.inst = large
	f.remove(t)
}

// neighbour is another instance's binding.
func (f *full) neighbour(t *testing.T) (instance, string, services.Credentials) {
	t.Helper()
	other := newInstance(f.inst.ID+" 2", nil)
	if err := servicetest.Once(f.b).Provision(testContext(t), other); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, other, "b", access.ReadWrite)
	creds, err := servicetest.Once(f.b).Bind(testContext(t), other, bd)
	if err != nil {
		t.Fatal(err)
	}
	return other, f.b.names.role(bd.Name), creds
}

// in are the same credentials for another database.
func in(database string, creds services.Credentials) map[string]any {
	own, _ := creds.Values["database"].(string)
	uri, _ := creds.Values["uri"].(string)
	return map[string]any{"uri": strings.Replace(uri, "/"+own+"?", "/"+database+"?", 1)}
}

// Another instance's binding that was granted access cannot write to a full database.
func TestFullDatabaseAgainstANeighbour(t *testing.T) {
	f := newFull(t, "guest")
	other, guest, creds := f.neighbour(t)
	database := f.b.names.instance(f.inst.Name).database
	f.writer.must(t, "CREATE SCHEMA free; GRANT ALL ON SCHEMA free TO PUBLIC; GRANT CONNECT ON DATABASE "+database+" TO "+guest)
	s, err := dial(testContext(t), in(database, creds))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	clientOf(s).must(t, "CREATE TABLE free.mine (n int)")
	f.locked(t)
	if s.Ping(testContext(t)) == nil {
		t.Error("the guest's session was not ended")
	}
	if _, err := dial(testContext(t), in(database, creds)); err == nil {
		t.Error("the guest connects")
	}
	f.remove2(t, other)
}

// From one instance, a customer closes another one that is full: the broker opens and locks it.
func TestFullDatabaseThatIsClosed(t *testing.T) {
	f := newFull(t, "closed")
	other, _, creds := f.neighbour(t)
	mine, theirs := f.b.names.instance(f.inst.Name), f.b.names.instance(other.Name)
	dialled(t, creds).must(t, "GRANT CONNECT ON DATABASE "+theirs.database+" TO "+f.b.names.role(f.writing.Name))
	s, err := dial(testContext(t), in(theirs.database, f.writerCreds))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	clientOf(s).must(t, "ALTER DATABASE "+mine.database+" WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
	if _, err := dial(testContext(t), f.writerCreds.Values); err == nil {
		t.Fatal("the database is not closed")
	}
	f.writer.must(t, fill)
	if note := f.reconcile(t); !strings.HasPrefix(note, "storage: ") {
		t.Errorf("note: %q", note)
	}
	f.converge(t)
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	if f.writer.Ping(testContext(t)) == nil {
		t.Error("the writer's session was not ended")
	}
	f.remove2(t, other)
}

// No setting of a full database prevents the broker from locking it.
func TestFullDatabaseAgainstSettings(t *testing.T) {
	f := newFull(t, "settings")
	f.writer.must(t, fill)
	f.writer.must(t, "ALTER DATABASE "+f.b.names.instance(f.inst.Name).database+" SET local_preload_libraries = 'missing'")
	if note := f.reconcile(t); !strings.HasPrefix(note, "storage: ") {
		t.Errorf("note: %q", note)
	}
	if f.writer.Ping(testContext(t)) == nil {
		t.Error("the writer's session was not ended")
	}
	f.verify(t, f.writing)
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	f.remove(t)
}

// A full database that the broker cannot enter is a condition of its own.
func TestFullDatabaseThatCannotBeEntered(t *testing.T) {
	f := newFull(t, "shut")
	database := f.b.names.instance(f.inst.Name).database
	f.writer.must(t, fill)
	f.server.exec(t, "ALTER DATABASE "+database+" SET session_preload_libraries = 'missing'")
	conditions, err := servicetest.Once(f.b).Reconcile(testContext(t), []Plan{f.inst.Plan}, []instance{f.inst})
	if got := conditions[f.inst.ID]; err == nil || got.Reason != services.Inaccessible || !strings.Contains(got.Message, "storage: ") {
		t.Errorf("condition: %+v, %v", got, err)
	}
	f.server.exec(t, "ALTER DATABASE "+database+" RESET session_preload_libraries")
	f.converge(t)
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	f.remove(t)
}

func (f *full) remove2(t *testing.T, other instance) {
	t.Helper()
	if err := servicetest.Patient(f.b).Deprovision(testContext(t), other); err != nil {
		t.Fatal(err)
	}
	if _, err := servicetest.Once(f.b).Reconcile(testContext(t), nil, nil); err != nil { // drops a role that was set aside
		t.Fatal(err)
	}
	f.remove(t)
}
