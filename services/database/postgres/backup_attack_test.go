package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// backedUp copies an instance, which must succeed.
func backedUp(t *testing.T, b *backend, inst instance) ([]byte, services.Contents) {
	t.Helper()
	var stream bytes.Buffer
	contents, err := b.Backup(testContext(t), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &stream})
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	return stream.Bytes(), contents
}

// restoredTo restores a copy to a new instance, and returns the credentials of a binding.
func restoredTo(t *testing.T, b *backend, inst instance, stream []byte, contents services.Contents) services.Credentials {
	t.Helper()
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	r := services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: bytes.NewReader(stream)}
	if _, err := b.Restore(testContext(t), r); err != nil {
		t.Fatalf("restore: %v", err)
	}
	credentials, err := servicetest.Once(b).Bind(testContext(t), inst, newBinding(t, inst, "of the copy", access.ReadWrite))
	if err != nil {
		t.Fatal(err)
	}
	return credentials
}

// trapDefinitions and trapped call trap() wherever a copy might. It fails if a role of the broker runs it.
const trapDefinitions = `
	CREATE FUNCTION trap(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
		IF session_user ~ '_backup$|_admin$' THEN RAISE EXCEPTION 'acted as %', session_user; END IF; RETURN true; END $$;
	CREATE FUNCTION trap(name, name) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT public.trap(''operator'')';
	CREATE FUNCTION trap(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT public.trap(''operator'')';
	CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = trap); CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = trap)`

const trapped = `
	CREATE TYPE pair AS (a int); CREATE FUNCTION cast_pair(pair) RETURNS text LANGUAGE sql AS 'SELECT trap(''cast'')::text';
	CREATE CAST (pair AS text) WITH FUNCTION cast_pair(pair) AS IMPLICIT;
	CREATE DOMAIN checked AS int CHECK (trap('domain'));
	CREATE TABLE t (n int CHECK (trap('check')), d checked DEFAULT (CASE WHEN trap('default') THEN 1 END), p pair,
		g boolean GENERATED ALWAYS AS (trap(n::text)) STORED);
	INSERT INTO t (n, p) VALUES (1, ROW(1)), (2, NULL);
	CREATE INDEX ON t (n) WHERE trap('constant'); CREATE INDEX ON t (trap(n::text)); CREATE STATISTICS guess ON trap(n::text), n FROM t;
	ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (trap('policy'));
	CREATE VIEW v AS SELECT trap('view'); CREATE MATERIALIZED VIEW m AS SELECT trap('materialized view') AS x;
	CREATE RULE r AS ON UPDATE TO t DO ALSO SELECT trap('rule');
	CREATE TABLE parts (n text) PARTITION BY LIST (trap(n)); CREATE TABLE part PARTITION OF parts DEFAULT; INSERT INTO parts VALUES ('x');
	CREATE SEQUENCE s`

// Nothing of a tenant's runs with the rights of the backup role or the administrator.
func TestBackupRunsNothingOfTheTenants(t *testing.T) {
	t.Parallel()
	f := newFull(t, "trap")
	f.writer.must(t, trapDefinitions+"; "+strings.ReplaceAll(trapped, "trap(", "public.trap("))
	database := "ALTER DATABASE " + ident(f.b.names.instance(f.inst.Name).database)
	for _, setting := range []string{
		"search_path = public, pg_catalog", "role = " + literal(f.b.names.instance(f.inst.Name).owner), "row_security = on", "statement_timeout = 1",
		"client_encoding = 'SQL_ASCII'", "default_transaction_read_only = on", "idle_in_transaction_session_timeout = 1", "lock_timeout = 1",
		"default_transaction_isolation = 'serializable'", "quote_all_identifiers = on", "bytea_output = 'escape'", "IntervalStyle = 'iso_8601'",
	} {
		f.writer.must(t, database+" SET "+setting)
	}
	stream, contents := backedUp(t, f.b, f.inst)
	if contents.Counts["rows"] != 3 || contents.Counts["tables"] != 3 || contents.Counts["policies"] != 1 {
		t.Errorf("counted %v", contents.Counts)
	}
	if left := f.server.ask(t, `SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE m.member = 'chandler_admin_backup'::regrole AND r.rolname LIKE 'trap%'`); left != "0" {
		t.Errorf("the backup role is still a member of %s roles", left)
	}
	if may := f.server.ask(t, `SELECT bool_or(has_database_privilege('chandler_admin_backup', oid, 'CONNECT')) FROM pg_database WHERE datname LIKE 'trap%'`); may != "false" {
		t.Errorf("the backup role may connect: %s", may)
	}
	other := newInstance("trap copy", nil)
	restoredTo(t, f.b, other, stream, contents)
	f.remove2(t, other)
}

// A tenant exchanges a sequence for a view while pg_dump waits for another table (CVE-2024-7348).
func TestBackupReadsNoViews(t *testing.T) {
	t.Parallel()
	f := newFull(t, "exchange")
	f.writer.must(t, trapDefinitions+"; CREATE TABLE a_slow (n int); CREATE SEQUENCE s; CREATE TABLE z (n int)")
	f.writer.must(t, "BEGIN; LOCK TABLE a_slow")
	ended := make(chan error, 1)
	go func() {
		_, err := f.b.Backup(testContext(t), services.BackupRequest[Plan, InstanceParams]{Instance: f.inst, Writer: io.Discard})
		ended <- err
	}()
	name := f.b.names.instance(f.inst.Name).database
	for end := time.Now().Add(time.Minute); f.server.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+name+"' AND wait_event_type = 'Lock'") == "0"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("pg_dump waits for no lock")
		}
	}
	f.writer.must(t, "DROP SEQUENCE s; CREATE VIEW s AS SELECT 1::bigint AS last_value, true AS is_called FROM (SELECT trap('view')) x; COMMIT")
	if err := <-ended; err == nil || strings.Contains(err.Error(), "acted as") {
		t.Errorf("the view was read: %v", err)
	}
	backedUp(t, f.b, f.inst) // afterwards it works
	f.remove(t)
}

// What the copy does while it is restored, it does as a role of the instance that is gone afterwards.
func TestRestoreActsAsTheInstance(t *testing.T) {
	t.Parallel()
	f := newFull(t, "acts")
	f.writer.must(t, `CREATE FUNCTION act(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
			IF session_user ~ '_restore$' THEN
				PERFORM set_config('role', 'none', false);
				EXECUTE format('ALTER ROLE %I PASSWORD ''known''', session_user);
				EXECUTE 'CREATE TABLE IF NOT EXISTS public.left_behind (who text)';
				EXECUTE format('INSERT INTO public.left_behind VALUES (%L)', session_user || ' ' || pg_has_role(session_user, 'chandler_admin', 'MEMBER'));
				PERFORM set_config('role', regexp_replace(session_user, '_restore$', '_owner'), false);
			END IF; RETURN true; END $$;
		CREATE TABLE acting (n int CHECK (act(n))); INSERT INTO acting VALUES (1)`)
	stream, contents := backedUp(t, f.b, f.inst)
	other := newInstance("acts copy", nil)
	c := dialled(t, restoredTo(t, f.b, other, stream, contents))
	n := f.b.names.instance(other.Name)
	if who := c.asks(t, "SELECT who FROM left_behind"); who != n.restorer+" false" {
		t.Errorf("it acted as %q", who)
	}
	if owner := c.asks(t, "SELECT relowner::regrole FROM pg_class WHERE relname = 'left_behind'"); owner != n.owner {
		t.Errorf("its table belongs to %s", owner)
	}
	if left := f.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'acts%restore'"); left != "0" {
		t.Errorf("%s roles are left", left)
	}
	f.remove2(t, other)
}

// Routines and views of a read_only binding do not become the owner role's.
func TestRestoreDropsWhatReadersMade(t *testing.T) {
	t.Parallel()
	f := newFull(t, "readers")
	reader := ident(f.readerCreds.Values["username"].(string))
	f.writer.must(t, "CREATE SCHEMA open; CREATE TABLE open.own (n int); GRANT USAGE, CREATE ON SCHEMA open TO "+reader)
	f.reader.must(t, `CREATE FUNCTION open.definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
		CREATE VIEW open.seen AS SELECT open.definer(); CREATE TABLE open.theirs (n int); INSERT INTO open.theirs VALUES (1), (2)`)
	stream, contents := backedUp(t, f.b, f.inst)
	other := newInstance("readers copy", nil)
	c := dialled(t, restoredTo(t, f.b, other, stream, contents))
	c.must(t, "SELECT FROM open.own")
	for _, statement := range []string{"SELECT open.definer()", "SELECT FROM open.seen", "SELECT FROM open.theirs"} {
		if err := c.run(t, statement); err == nil {
			t.Errorf("%s: is there", statement)
		}
	}
	if _, again := backedUp(t, f.b, other); fmt.Sprint(again.Counts) != fmt.Sprint(contents.Counts) {
		t.Errorf("the copy has %v, and the original %v", again.Counts, contents.Counts)
	}
	f.remove2(t, other)
}

// Tenants who use all connections, or have more tables than the plan has locks.
func TestBackupAtTheLimits(t *testing.T) {
	t.Parallel()
	f := newFull(t, "limits")
	name := f.b.names.instance(f.inst.Name).database
	var held []services.Session
	for {
		s, err := dial(testContext(t), f.writerCreds.Values)
		if err != nil {
			break
		}
		held = append(held, s)
	}
	backedUp(t, f.b, f.inst)
	if limit := f.server.ask(t, "SELECT datconnlimit FROM pg_database WHERE datname = '"+name+"'"); limit != fmt.Sprint(f.inst.Plan.Connections) {
		t.Errorf("the limit of connections is %s now", limit)
	}
	for _, s := range held {
		_ = s.Close()
	}
	f.inst.Plan.Locks = 300
	f.writer.must(t, "DO $$ BEGIN FOR i IN 1..250 LOOP EXECUTE 'CREATE TABLE t' || i || '()'; END LOOP; END $$")
	_, err := f.b.Backup(testContext(t), services.BackupRequest[Plan, InstanceParams]{Instance: f.inst, Writer: io.Discard})
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "250 tables") {
		t.Errorf("a database with many tables: %v", err)
	}
	f.remove(t)
}

// Passwords are neither in the arguments of the programs nor in files.
func TestProgramsConcealPasswords(t *testing.T) {
	t.Parallel()
	f := newFull(t, "conceal")
	password, err := f.b.backupPassword()
	if err != nil {
		t.Fatal(err)
	}
	f.writer.must(t, fill) // more than fits into a pipe, so that pg_dump runs meanwhile
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	seen := 0
	w := writerFunc(func([]byte) (int, error) {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			line, _ := os.ReadFile(file)
			if bytes.Contains(line, []byte("--snapshot=")) {
				seen++
			}
			if bytes.Contains(line, []byte(password.Reveal())) || bytes.Contains(line, []byte(adminPassword)) {
				t.Errorf("%s has a password", file)
			}
		}
		cancel()
		return 0, ctx.Err()
	})
	began := time.Now()
	_, err = f.b.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: f.inst, Writer: w})
	if err == nil || seen == 0 || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s, %d command lines", err, time.Since(began), seen)
	}
	f.remove(t)
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// The operator reads what to install or to run.
func TestBackupNeeds(t *testing.T) {
	t.Parallel()
	f := newFull(t, "needs")
	request := services.BackupRequest[Plan, InstanceParams]{Instance: f.inst, Writer: io.Discard}
	program := func(version string) (folder string) {
		folder = t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "pg_dump"), []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) "+version+"'\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		return folder
	}
	wanted := map[string]string{"/nonexistent": "install PostgreSQL's client programs", program("9.6.1"): "is version 9 and older than the server"}
	if f.server.version < 170000 {
		wanted[program("17.2")] = "which restores to PostgreSQL 17 and newer only"
	}
	for folder, want := range wanted {
		f.b.programs = folder
		if _, err := f.b.Backup(testContext(t), request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("programs in %s: %v, want %q", folder, err, want)
		}
	}
	f.b.programs = ""
	f.b.admin.User = "somebody"
	if err := f.b.checkBackupRole(testContext(t), f.session(t)); err == nil || !strings.Contains(err.Error(), "run administrator.sql again") {
		t.Errorf("without the role: %v", err)
	}
	f.b.admin.User = "chandler_admin"
	f.remove(t)
}

func (f *full) session(t *testing.T) *session {
	t.Helper()
	c := f.b.admin.Clone()
	c.User = "chandler_admin"
	s, err := dialSession(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Release(context.Background()) })
	return s
}

// An archive that ends early is not a whole one, wherever it ends.
func TestArchiveTruncated(t *testing.T) {
	t.Parallel()
	f := newFull(t, "short")
	f.writer.must(t, "CREATE TABLE a (t text); INSERT INTO a SELECT md5(n::text) FROM generate_series(1, 50) n; CREATE TABLE b (); SELECT lo_from_bytea(0, 'x')")
	stream, contents := backedUp(t, f.b, f.inst)
	_, dumped, _ := bytes.Cut(stream, []byte("\n"))
	for end := range len(dumped) + 1 {
		a := newArchive(nil)
		_, _ = a.Write(dumped[:end])
		counts, err := a.close()
		if whole := end == len(dumped); (err == nil) != whole {
			t.Fatalf("%d of %d bytes: %v", end, len(dumped), err)
		} else if whole && fmt.Sprint(counts) != fmt.Sprint(contents.Counts) {
			t.Errorf("counted %v, and %v before", counts, contents.Counts)
		}
	}
	f.remove(t)
}
