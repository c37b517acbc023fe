package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// full is an instance to fill: with a writer and a reader.
type full struct {
	server         *testServer
	b              *backend
	inst           instance
	writing        binding
	writer, reader *client
	writerCreds    services.Credentials
	readerCreds    services.Credentials
}

func newFull(t *testing.T, prefix string) *full {
	t.Helper()
	f := &full{server: newServer(t)}
	ctx := testContext(t)
	f.b = f.server.backend(t, prefix)
	f.inst = newInstance(prefix, func(i *instance) { i.Plan.Storage = 16 << 20 })
	if err := servicetest.Once(f.b).Provision(ctx, f.inst); err != nil {
		t.Fatal(err)
	}
	f.writing = newBinding(t, f.inst, "writer", access.ReadWrite)
	var err error
	if f.writerCreds, err = servicetest.Once(f.b).Bind(ctx, f.inst, f.writing); err != nil {
		t.Fatal(err)
	}
	f.readerCreds, err = servicetest.Once(f.b).Bind(ctx, f.inst, newBinding(t, f.inst, "reader", access.ReadOnly))
	if err != nil {
		t.Fatal(err)
	}
	f.writer, f.reader = dialled(t, f.writerCreds), dialled(t, f.readerCreds)
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

const fill = `CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) AS filler FROM generate_series(1, 25000) n`

func TestStorageLimit(t *testing.T) {
	f := newFull(t, "storage")
	if note := f.reconcile(t); note != "" {
		t.Fatalf("a note of an empty database: %q", note)
	}
	f.writer.must(t, fill)
	note := f.reconcile(t)
	if !strings.Contains(note, "of 16 MB used; writes are refused until less than 15.2 MB") {
		t.Fatalf("note: %q", note)
	}
	if f.writer.Ping(testContext(t)) == nil {
		t.Fatal("the writer's session still acts as the owner")
	}
	writer := dialled(t, f.writerCreds)
	for _, refused := range []string{
		"INSERT INTO big VALUES (1)",
		"UPDATE big SET n = 1 WHERE n = 1",
		"CREATE TEMPORARY TABLE more (n int)",
		"CREATE SCHEMA more",
		"SET default_transaction_read_only = off; INSERT INTO big VALUES (1)",
		"SET ROLE storage_" + f.inst.Name + "_owner",
		"COPY big FROM STDIN",
	} {
		if err := writer.run(t, refused); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", refused, err)
		}
	}
	writer.must(t, "SELECT count(*) FROM big")
	dialled(t, f.readerCreds).must(t, "SELECT count(*) FROM big")

	// A new binding cannot write either, and a round with nothing to do does not end its
	// session.
	late, err := servicetest.Once(f.b).Bind(testContext(t), f.inst, newBinding(t, f.inst, "late", access.ReadWrite))
	if err != nil {
		t.Fatal(err)
	}
	lateClient := dialled(t, late)
	if err := lateClient.run(t, "INSERT INTO big VALUES (1)"); err == nil {
		t.Error("a binding made while the database is full may write")
	}
	f.reconcile(t)
	lateClient.must(t, "DELETE FROM big WHERE n = 1")
	writer.must(t, "TRUNCATE big")
	if note := f.reconcile(t); note != "" {
		t.Fatalf("note after truncating: %q", note)
	}
	again := dialled(t, f.writerCreds)
	again.must(t, "INSERT INTO big VALUES (1); CREATE TABLE more (n int)")
	if f.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'storage%over'") != "0" {
		t.Error("the mark is still there")
	}
	// Each can drop what the other made afterwards.
	dialled(t, late).must(t, "DROP TABLE more")
	f.remove(t)
}

func (f *full) remove(t *testing.T) {
	t.Helper()
	if err := servicetest.Patient(f.b).Deprovision(testContext(t), f.inst); err != nil {
		t.Fatal(err)
	}
	if left := f.server.left(t, strings.TrimSuffix(f.b.names.prefix, "_")); left != nil {
		t.Fatalf("left behind: %v", left)
	}
}

// A tenant's preparations do not let it write to a full database.
func TestStorageLimitAgainstPreparations(t *testing.T) {
	f := newFull(t, "prepared")
	role := f.b.names.role(f.writing.Name)
	f.writer.must(t, `CREATE SCHEMA s; GRANT USAGE, CREATE ON SCHEMA s, public TO PUBLIC;
		CREATE TABLE public_table (n int); GRANT INSERT, UPDATE ON public_table TO PUBLIC;
		CREATE TABLE column_table (n int, m int); GRANT INSERT (n) ON column_table TO PUBLIC;
		CREATE TABLE named_table (n int); GRANT ALL ON named_table TO `+role+`;
		CREATE VIEW public_view AS SELECT * FROM named_table; GRANT INSERT ON public_view TO PUBLIC;
		GRANT CREATE, TEMPORARY ON DATABASE prepared_`+f.inst.Name+` TO `+role+`, PUBLIC;
		ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
		SET ROLE NONE; CREATE SCHEMA mine; CREATE TABLE mine.mine (n int); RESET ROLE; `+fill)
	if f.reconcile(t) == "" {
		t.Fatal("no note")
	}
	writer := dialled(t, f.writerCreds)
	if f.server.version >= 150000 { // before, schema public is the superuser's and lets everybody create
		if err := writer.run(t, "CREATE TABLE public.t (n int)"); err == nil {
			t.Error("created a table in schema public")
		}
	}
	for _, refused := range []string{
		"INSERT INTO public_table VALUES (1)", "UPDATE public_table SET n = 1",
		"INSERT INTO column_table (n) VALUES (1)",
		"INSERT INTO named_table VALUES (1)", "INSERT INTO public_view VALUES (1)",
		"INSERT INTO mine.mine VALUES (1)", "CREATE TABLE s.t (n int)", "CREATE TABLE mine.t (n int)",
		"CREATE TEMPORARY TABLE t (n int)", "CREATE SCHEMA t",
	} {
		if err := writer.run(t, refused); err == nil {
			t.Errorf("%s: was let through", refused)
		}
	}
	f.remove(t)
}

// Locking and unlocking finish after an interruption at any call.
func TestStorageLimitAfterCrashes(t *testing.T) {
	for _, when := range []servicetest.Moment{servicetest.Before, servicetest.After} {
		t.Run(string(when), func(t *testing.T) {
			t.Parallel()
			prefix := "cut" + string(when[:5])
			for n, cut := 1, true; cut && !t.Failed(); n++ {
				t.Run(fmt.Sprint("call ", n), func(t *testing.T) { cut = lockedAndUnlocked(t, prefix, n, when) })
			}
		})
	}
}

// lockedAndUnlocked interrupts a round that locks an instance and one that unlocks it at the
// n-th call, and returns whether one of them had as many.
func lockedAndUnlocked(t *testing.T, prefix string, n int, when servicetest.Moment) bool {
	t.Helper()
	f := newFull(t, prefix)
	f.writer.must(t, fill)
	locking := f.interruptedRound(t, prefix, n, when)
	f.converge(t)
	writer := dialled(t, f.writerCreds)
	expect(t, writer.run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	dialled(t, f.readerCreds).must(t, "SELECT count(*) FROM big")
	writer.must(t, "TRUNCATE big")
	unlocking := f.interruptedRound(t, prefix, n, when)
	f.converge(t)
	dialled(t, f.writerCreds).must(t, "INSERT INTO big VALUES (1); CREATE TABLE more (n int)")
	f.remove(t)
	return locking || unlocking
}

// converge makes rounds until there is nothing left to do. The first may find the instance
// locked, until the server notices that the other process has disconnected.
func (f *full) converge(t *testing.T) {
	t.Helper()
	for range 12000 {
		f.reconcile(t)
		states, err := f.b.measure(testContext(t), []instance{f.inst})
		if err != nil {
			t.Fatal(err)
		}
		if states[f.b.names.instance(f.inst.Name).database].inSync(f.inst.Plan) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the instance never converged")
}

// interruptedRound makes a round in a process that loses its server at the n-th call, and
// returns whether there were as many.
func (f *full) interruptedRound(t *testing.T, prefix string, n int, when servicetest.Moment) bool {
	t.Helper()
	proxy := servicetest.NewProxy(t, f.server.admin.Host)
	config, err := services.Decode[Config](f.server.proxied(proxy.Address(), prefix))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := b.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	proxy.Arm(n, when)
	if _, err := servicetest.Once(b).Reconcile(testContext(t), []Plan{f.inst.Plan}, []instance{f.inst}); err == nil && proxy.Stopped() && n < 3 {
		t.Error("a round without its server went well")
	}
	return proxy.Stopped()
}

// Reconcile reverts a tenant's change of its database's limit of connections.
func TestReconcilePutsConnectionLimitBack(t *testing.T) {
	f := newFull(t, "limit")
	f.writer.must(t, "ALTER DATABASE limit_"+f.inst.Name+" CONNECTION LIMIT 9999")
	f.reconcile(t)
	if limit := f.server.ask(t, "SELECT datconnlimit FROM pg_database WHERE datname = 'limit_"+f.inst.Name+"'"); limit != "20" {
		t.Fatalf("limit: %s", limit)
	}
	f.remove(t)
}

func TestReconcileSpares(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "spare")
	reconcile := func(plans ...Plan) {
		t.Helper()
		if _, err := servicetest.Once(b).Reconcile(ctx, plans, nil); err != nil {
			t.Fatal(err)
		}
	}
	reconcile(Plan{Spares: 1}, Plan{Spares: 2})
	if left := server.left(t, "spare"); len(left) != 3 {
		t.Fatalf("spares: %v", left)
	}
	// A spare whose creation was interrupted before its REVOKE is not used as it is.
	server.exec(t, "CREATE DATABASE spare_spare_half OWNER chandler_admin TEMPLATE template0 ALLOW_CONNECTIONS false")
	first := newInstance("first", nil)
	for range 3 { // again, once claimed, takes no other
		if err := servicetest.Once(b).Provision(ctx, first); err != nil {
			t.Fatal(err)
		}
	}
	if left := server.left(t, "spare"); len(left) != 5 {
		t.Fatalf("after a provision: %v", left)
	}
	reconcile(Plan{Spares: 3})
	if n := server.ask(t, "SELECT count(*) FROM pg_database WHERE datname ~ '^spare_spare_' AND datacl IS NOT NULL AND NOT datallowconn"); n != "3" {
		t.Fatalf("spares: %s, %v", n, server.left(t, "spare"))
	}
	reconcile()
	if err := servicetest.Patient(b).Deprovision(ctx, first); err != nil {
		t.Fatal(err)
	}
	if left := server.left(t, "spare"); left != nil {
		t.Fatalf("left: %v", left)
	}
}
