package mysql

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// They are separate statements: rows count only once they are in the table.
const (
	makeBig = `CREATE TABLE big (n INT PRIMARY KEY, filler VARCHAR(700))`
	fill    = `INSERT INTO big SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_16000`
)

// full is an instance of 4 MB to fill: with a writer and a reader.
type full struct {
	server         *testServer
	b              *backend
	inst           instance
	writer, reader *client
	writing        binding
	writerCreds    services.Credentials
}

func newFull(t *testing.T) *full {
	t.Helper()
	f := &full{server: newServer(t)}
	f.b = f.server.backend(t)
	f.inst = newInstance("full", func(i *instance) { i.Plan.Storage = 4 << 20 })
	if err := servicetest.Once(f.b).Provision(testContext(t), f.inst); err != nil {
		t.Fatal(err)
	}
	var readerCreds services.Credentials
	f.writing, f.writerCreds = bound(t, f.b, f.inst, "writer", access.ReadWrite)
	_, readerCreds = bound(t, f.b, f.inst, "reader", access.ReadOnly)
	f.writer, f.reader = dialled(t, f.writerCreds), dialled(t, readerCreds)
	f.writer.must(t, makeBig)
	return f
}

func (f *full) reconcile(t *testing.T) string {
	t.Helper()
	notes, err := servicetest.Once(f.b).Reconcile(testContext(t), []Plan{f.inst.Plan}, []instance{f.inst})
	if err != nil {
		t.Fatal(err)
	}
	return notes[f.inst.ID].Message
}

func TestStorageLimit(t *testing.T) {
	f := newFull(t)
	if note := f.reconcile(t); note != "" {
		t.Fatalf("a note of an empty database: %q", note)
	}
	f.writer.must(t, "CREATE PROCEDURE grow() INSERT INTO big VALUES (0, 'x')", fill)
	if note := f.reconcile(t); !strings.Contains(note, "of 4 MB used; writes are refused until less than 3.8 MB") {
		t.Fatalf("note: %q", note)
	}
	if f.writer.Ping(testContext(t)) == nil {
		t.Fatal("the writer's session goes on with its old rights")
	}
	writer := dialled(t, f.writerCreds)
	f.refused(t, writer)
	writer.must(t, "SELECT COUNT(*) FROM big")
	f.reader.must(t, "SELECT COUNT(*) FROM big")

	// A new binding cannot write either, and a round with nothing to do does not end its
	// session.
	_, late := bound(t, f.b, f.inst, "late", access.ReadWrite)
	lateClient := dialled(t, late)
	f.refused(t, lateClient)
	f.reconcile(t)
	lateClient.must(t, "DELETE FROM big WHERE n = 1")

	// A binding that is removed and made again cannot write either, nor can what it defined.
	if err := servicetest.Patient(f.b).Unbind(testContext(t), f.inst, f.writing); err != nil {
		t.Fatal(err)
	}
	expect(t, lateClient.run(t, "CALL grow()"), "denied")
	if _, err := servicetest.Once(f.b).Bind(testContext(t), f.inst, f.writing); err != nil {
		t.Fatal(err)
	}
	f.refused(t, dialled(t, f.writerCreds))

	dialled(t, f.writerCreds).must(t, "TRUNCATE big")
	if note := f.reconcile(t); note != "" {
		t.Fatalf("note after truncating: %q", note)
	}
	dialled(t, f.writerCreds).must(t, "INSERT INTO big VALUES (1, '')", "CREATE TABLE more (n INT)", "CALL grow()")
	dialled(t, late).must(t, "DROP TABLE more")
	f.remove(t)
}

// refused fails the test if an application can write.
func (f *full) refused(t *testing.T, c *client) {
	t.Helper()
	for _, refused := range []string{
		"INSERT INTO big VALUES (0, '')",
		"REPLACE INTO big VALUES (1, '')",
		"UPDATE big SET filler = '' WHERE n = 2",
		"CALL grow()",
		"CREATE TABLE more (n INT)",
		"CREATE TABLE more AS SELECT * FROM big",
		"CREATE TEMPORARY TABLE more (n INT)",
		"CREATE VIEW more AS SELECT 1",
		"CREATE PROCEDURE more() SELECT 1",
		"CREATE TRIGGER more BEFORE DELETE ON big FOR EACH ROW SET @x = 1",
		"ALTER TABLE big ADD COLUMN more VARCHAR(200) DEFAULT 'x'",
		"CREATE INDEX more ON big (filler)",
		"RENAME TABLE big TO bigger",
	} {
		if err := c.run(t, refused); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s: %v", refused, err)
		}
	}
}

func (f *full) remove(t *testing.T) {
	t.Helper()
	if err := servicetest.Patient(f.b).Deprovision(testContext(t), f.inst); err != nil {
		t.Fatal(err)
	}
	f.server.nothingLeft(t)
}

// Deleted rows do not count, although the files do not shrink.
func TestDeletingFreesStorage(t *testing.T) {
	f := newFull(t)
	f.inst.Plan.Storage = 12 << 20
	f.writer.must(t, fill)
	if f.reconcile(t) == "" {
		t.Fatal("no note of a full database")
	}
	dialled(t, f.writerCreds).must(t, "DELETE FROM big WHERE n > 100")
	eventually(t, func() bool { return f.reconcile(t) == "" })
	dialled(t, f.writerCreds).must(t, "INSERT INTO big VALUES (0, '')")
	f.remove(t)
}

// Filling and emptying one table after the other takes at most twice the storage on the disk.
func TestEmptyFilesCount(t *testing.T) {
	f := newFull(t)
	f.inst.Plan.Storage = 12 << 20
	for _, table := range []string{"one", "two", "three"} {
		f.writer.must(t, "CREATE TABLE "+table+" LIKE big",
			"INSERT INTO "+table+" SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_9000", "DELETE FROM "+table)
	}
	if note := f.reconcile(t); note == "" {
		t.Fatal("no note of files twice as large as the storage")
	}
	expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (0, '')"), "denied")
	dialled(t, f.writerCreds).must(t, "DROP TABLE one, two")
	if note := f.reconcile(t); note != "" {
		t.Fatalf("note: %q", note)
	}
	f.remove(t)
}

// The text of a procedure counts: the server keeps it outside of the database.
func TestRoutinesCount(t *testing.T) {
	f := newFull(t)
	f.writer.must(t, "CREATE PROCEDURE hoard() SELECT '"+strings.Repeat("x", 5<<20)+"'")
	if f.reconcile(t) == "" {
		t.Fatal("no note")
	}
	writer := dialled(t, f.writerCreds)
	expect(t, writer.run(t, "CREATE PROCEDURE more() SELECT 1"), "denied")
	writer.must(t, "DROP PROCEDURE hoard")
	if note := f.reconcile(t); note != "" {
		t.Fatalf("note: %q", note)
	}
	f.remove(t)
}

// So do those of views and triggers, which the server stores in files that it does not measure.
func TestTextsCount(t *testing.T) {
	f := newFull(t)
	f.writer.must(t, "CREATE TABLE filled (n INT)")
	long := "'" + strings.Repeat("x", 2<<20) + "'"
	for name, hoard := range map[string][2]string{
		"view": {"CREATE VIEW hoard AS SELECT " + long + " AS x", "DROP VIEW hoard"},
		// Dropping a trigger takes the right to create one: it is dropped with its table.
		"trigger": {"CREATE TRIGGER hoard BEFORE INSERT ON filled FOR EACH ROW SET @x = " + long + ", @y = " + long, "DROP TABLE filled"},
	} {
		t.Run(name, func(t *testing.T) {
			writer := dialled(t, f.writerCreds)
			writer.must(t, hoard[0])
			if f.reconcile(t) == "" {
				t.Fatal("no note")
			}
			expect(t, dialled(t, f.writerCreds).run(t, "INSERT INTO big VALUES (0, '')"), "denied")
			dialled(t, f.writerCreds).must(t, hoard[1])
			if note := f.reconcile(t); note != "" {
				t.Fatalf("note: %q", note)
			}
			dialled(t, f.writerCreds).must(t, "REPLACE INTO big VALUES (0, '')")
		})
	}
	f.remove(t)
}

// A full database that its application dropped is created again.
func TestFullDatabaseDropped(t *testing.T) {
	f := newFull(t)
	f.writer.must(t, fill)
	f.reconcile(t)
	name := f.b.names.database(f.inst.Name)
	dialled(t, f.writerCreds).must(t, "DROP DATABASE "+name)
	if note := f.reconcile(t); note != "" {
		t.Fatalf("note: %q", note)
	}
	without := f.writerCreds.Values
	without["uri"] = strings.TrimSuffix(without["uri"].(string), name)
	application(t, without).must(t, "CREATE DATABASE "+name, "USE "+name, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)")
	f.remove(t)
}

// A plan with less storage or fewer bindings than are used is refused.
func TestUpdateToLess(t *testing.T) {
	f := newFull(t)
	f.inst.Plan.Storage = 0
	f.writer.must(t, fill)
	for name, change := range map[string]func(*Plan){
		"the database uses": func(p *Plan) { p.Storage = 4 << 20 },
		"the instance has":  func(p *Plan) { p.Bindings = 1 },
	} {
		next := f.inst
		change(&next.Plan)
		err := servicetest.Once(f.b).Update(testContext(t), f.inst, next)
		if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, name) {
			t.Errorf("%v, want a refusal with %q", err, name)
		}
	}
	f.writer.must(t, "INSERT INTO big VALUES (0, '')")
	f.remove(t)
}
