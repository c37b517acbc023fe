package postgres

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/naming"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// used is an instance with applications.
type used struct {
	server *testServer
	b      *backend
	inst   instance
}

func newUsed(t *testing.T, server *testServer, prefix, id string) *used {
	t.Helper()
	u := &used{server, server.backend(t, prefix), newInstance(id, nil)}
	if err := servicetest.Once(u.b).Provision(testContext(t), u.inst); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *used) bind(t *testing.T, id string, role access.Role) (binding, *client) {
	t.Helper()
	bd := newBinding(t, u.inst, id, role)
	c, err := servicetest.Once(u.b).Bind(testContext(t), u.inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return bd, dialled(t, c)
}

func (u *used) unbind(t *testing.T, bd binding) {
	t.Helper()
	if err := servicetest.Patient(u.b).Unbind(testContext(t), u.inst, bd); err != nil {
		t.Fatal(err)
	}
}

// gone removes the instance, and fails the test if anything is left after Reconcile.
func (u *used) gone(t *testing.T) {
	t.Helper()
	if err := servicetest.Patient(u.b).Deprovision(testContext(t), u.inst); err != nil {
		t.Fatal(err)
	}
	u.reconcile(t)
	if left := u.server.left(t, strings.TrimSuffix(u.b.names.prefix, "_")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func (u *used) reconcile(t *testing.T) {
	t.Helper()
	if _, err := servicetest.Once(u.b).Reconcile(testContext(t), nil, nil); err != nil {
		t.Fatal(err)
	}
}

// traps make everything that acts with its owner's rights and could write to table t, or that
// runs while another role maintains a table.
const traps = `
	CREATE FUNCTION open.definer() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (1)';
	CREATE PROCEDURE open.calls() LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (2)';
	CREATE VIEW open.door AS SELECT * FROM public.t;
	CREATE MATERIALIZED VIEW open.copy AS SELECT * FROM public.t;
	CREATE TABLE open.own (i int PRIMARY KEY); INSERT INTO open.own VALUES (7);
	CREATE RULE r AS ON INSERT TO open.own DO ALSO INSERT INTO public.t VALUES (3);
	CREATE TABLE open.ref (i int REFERENCES open.own ON DELETE CASCADE); INSERT INTO open.ref VALUES (7);
	CREATE FUNCTION open.triggered() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t VALUES (4); RETURN OLD; END';
	CREATE TRIGGER g BEFORE DELETE ON open.ref FOR EACH ROW EXECUTE FUNCTION open.triggered();
	CREATE FUNCTION open.writes() RETURNS void LANGUAGE sql AS 'INSERT INTO public.t VALUES (5)';
	CREATE FUNCTION open.sly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
		'BEGIN IF current_user LIKE ''%owner'' THEN PERFORM open.writes(); END IF; RETURN $1; END';
	CREATE INDEX ON open.ref (open.sly(i));
	CREATE OPERATOR open.@@@ (FUNCTION = open.sly, RIGHTARG = int);
	CREATE DOMAIN open.d AS int CHECK (open.sly(VALUE) > 0);
	CREATE TYPE open.e AS ENUM ('a');
	GRANT ALL ON ALL TABLES IN SCHEMA open TO PUBLIC`

// spring triggers the traps as another read_only binding can, and as the server's own
// maintenance does.
func spring(t *testing.T, owner, reader *client) {
	t.Helper()
	for _, statement := range []string{
		"SELECT open.definer()", "CALL open.calls()", "INSERT INTO open.door VALUES (1)",
		"INSERT INTO open.own VALUES (8)", "DELETE FROM open.own",
	} {
		_ = reader.run(t, statement)
	}
	_ = owner.run(t, "ANALYZE open.ref")
	var written string
	if err := owner.Conn.QueryRowContext(testContext(t), "SELECT coalesce(string_agg(i::text, ', '), '') FROM t").Scan(&written); err != nil || written != "" {
		t.Errorf("a read_only binding wrote %s; %v", written, err)
	}
}

// Objects that a read_only binding was allowed to make must not get the owner role's rights
// when the binding is removed.
func TestReadOnlyBindingIsNotPromoted(t *testing.T) {
	u := newUsed(t, newServer(t), "promoted", "i")
	_, owner := u.bind(t, "owner", access.ReadWrite)
	owner.must(t, "CREATE TABLE t (i int); CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC")
	bd, reader := u.bind(t, "reader", access.ReadOnly)
	reader.must(t, traps)
	u.unbind(t, bd)
	_, next := u.bind(t, "next", access.ReadOnly)
	spring(t, owner, next)
	if n := u.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^promoted_revoked'"); n != "0" {
		t.Errorf("%s revoked roles are left", n)
	}
	u.gone(t)
}

// Objects of a read_only binding on which others depend stay, and belong to a role that can do
// nothing.
func TestReadOnlyBindingThatOthersDependOn(t *testing.T) {
	u := newUsed(t, newServer(t), "depend", "i")
	_, owner := u.bind(t, "owner", access.ReadWrite)
	owner.must(t, "CREATE TABLE t (i int); CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC")
	bd, reader := u.bind(t, "reader", access.ReadOnly)
	reader.must(t, traps)
	owner.must(t, "CREATE TABLE uses (i open.e); INSERT INTO uses VALUES ('a'); CREATE VIEW looks AS SELECT * FROM open.door")
	u.unbind(t, bd)
	owner.must(t, "SELECT * FROM uses")
	_, next := u.bind(t, "next", access.ReadOnly)
	spring(t, owner, next)
	again, _ := u.bind(t, "reader", access.ReadOnly) // the identifier is free again
	u.unbind(t, again)
	found, err := u.b.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, f := range found {
		if f.Leftover {
			left++
			err := servicetest.Once(u.b).Unbind(testContext(t), instance{}, binding{Name: f.Binding}) // as "orphans --remove" does
			expect(t, err, "depend")
		}
	}
	if left != 1 {
		t.Errorf("%d leftovers are listed: %v", left, found)
	}
	owner.must(t, "DROP TABLE uses; DROP VIEW looks")
	u.reconcile(t)
	if n := u.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^depend_revoked'"); n != "0" {
		t.Errorf("%s revoked roles are left", n)
	}
	u.gone(t)
}

// Objects that another tenant's application was allowed to make in a database do not get the
// owner role's rights when that application's binding is removed.
func TestGuestIsNotPromoted(t *testing.T) {
	server := newServer(t)
	host, guest := newUsed(t, server, "guest", "host"), newUsed(t, server, "guest", "guest")
	_, owner := host.bind(t, "owner", access.ReadWrite)
	bd, _ := guest.bind(t, "b", access.ReadWrite)
	c, err := servicetest.Once(guest.b).Bind(testContext(t), guest.inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	role, database := ident(guest.b.names.role(bd.Name)), host.b.names.instance(host.inst.Name).database
	owner.must(t, `CREATE TABLE t (i int); CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC; GRANT SELECT ON t TO `+role+`;
		GRANT CONNECT ON DATABASE `+ident(database)+` TO `+role)
	uri := strings.Replace(c.Values["uri"].(string), c.Values["database"].(string), database, 1)
	visitor := application(t, map[string]any{"uri": uri})
	visitor.must(t, traps)
	guest.unbind(t, bd)
	if visitor.Ping(testContext(t)) == nil {
		t.Error("the session in the other database goes on")
	}
	guest.reconcile(t)
	if n := server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^guest_revoked'"); n != "0" {
		t.Errorf("%s revoked roles are left", n)
	}
	var n int
	if err := owner.Conn.QueryRowContext(testContext(t), "SELECT count(*) FROM pg_proc WHERE pronamespace = 'open'::regnamespace").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d of the guest's functions are left, %v", n, err)
	}
	if err := servicetest.Patient(guest.b).Deprovision(testContext(t), guest.inst); err != nil {
		t.Fatal(err)
	}
	host.gone(t)
}

// A binding's open transaction does not delay its unbind, and its objects are reassigned once
// the lock is released.
func TestUnbindBehindLocks(t *testing.T) {
	u := newUsed(t, newServer(t), "locks", "i")
	_, other := u.bind(t, "other", access.ReadWrite)
	bd, own := u.bind(t, "own", access.ReadWrite)
	own.must(t, "SET ROLE NONE; CREATE SCHEMA own; GRANT USAGE ON SCHEMA own TO PUBLIC; CREATE TABLE own.own (i int); GRANT ALL ON own.own TO PUBLIC")
	own.must(t, "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'x'")
	other.must(t, "BEGIN; LOCK TABLE own.own")
	began := time.Now()
	u.unbind(t, bd)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if own.Ping(testContext(t)) == nil {
		t.Error("the session goes on")
	}
	other.must(t, "COMMIT")
	u.reconcile(t)
	other.must(t, "DROP TABLE own.own")
	u.gone(t)
}

// Clients that stop half-way through their login delay DROP DATABASE (PostgreSQL 15) no
// longer than authentication_timeout, which is shorter than a call.
func TestDeprovisionBesideHalfALogin(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	u := newUsed(t, server, "half", "i")
	conn, err := (&net.Dialer{}).DialContext(testContext(t), "tcp", server.admin.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const startup = "\x00\x03\x00\x00user\x00somebody\x00database\x00postgres\x00\x00" // PostgreSQL manual, "Message Formats"
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(startup))), startup...)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the server asks for the password
		t.Fatal(err)
	}
	if err := servicetest.Once(u.b).Deprovision(testContext(t), u.inst); err != nil {
		t.Fatal(err)
	}
	u.gone(t)
}

// newSmallServer is a server with room for few locks.
func newSmallServer(t *testing.T) *testServer {
	t.Helper()
	postgres := embeddedtest.PostgresOn(t, t.TempDir())
	server := newServerAt(t, postgres.URL("postgres"))
	server.exec(t, "ALTER SYSTEM SET max_locks_per_transaction = 10")
	server.exec(t, "ALTER SYSTEM SET max_connections = 30")
	if err := postgres.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return server
}

// Roles that own more than the server has locks for can be removed, too, and the objects of
// read_write bindings then belong to the instance.
func TestUnbindOfManyObjects(t *testing.T) {
	t.Parallel()
	u := newUsed(t, newSmallServer(t), "many", "i")
	_, owner := u.bind(t, "owner", access.ReadWrite)
	owner.must(t, "CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC")
	make := func(c *client, statements string) {
		t.Helper()
		c.must(t, "SET ROLE NONE")
		c.must(t, "DO $$ BEGIN FOR i IN 1..1500 LOOP "+statements+" COMMIT; END LOOP; END $$")
	}
	table := func(name, columns string) string {
		return "EXECUTE 'CREATE TABLE open." + name + "' || i || ' (" + columns + ")';"
	}
	one, writer := u.bind(t, "writer", access.ReadWrite)
	zero, third := u.bind(t, "third", access.ReadWrite) // its schemas are not the owner role's to create in
	third.must(t, `SET ROLE NONE; CREATE SCHEMA "Mine"; CREATE SCHEMA alien; GRANT ALL ON SCHEMA alien TO `+u.b.names.role(one.Name))
	make(third, `EXECUTE 'CREATE TABLE "Mine".t' || i || ' ()';`)
	make(writer, "EXECUTE 'CREATE TABLE alien.t' || i || ' ()';")
	make(writer, table("t", "i serial, b text UNIQUE"))
	writer.must(t, `CREATE TYPE open.range AS RANGE (SUBTYPE = int); CREATE DOMAIN open.domain AS int; CREATE TYPE open.composite AS (i int);
		CREATE STATISTICS open.s ON i, b FROM open.t1; CREATE TEXT SEARCH DICTIONARY open.dict (TEMPLATE = simple); SELECT lo_create(0)`)
	two, reader := u.bind(t, "reader", access.ReadOnly)
	make(reader, table("r", "i int")+"EXECUTE 'CREATE VIEW open.v' || i || ' AS SELECT * FROM open.r' || i; PERFORM lo_create(0);")
	for _, bd := range []binding{one, two, zero} {
		u.unbind(t, bd)
	}
	owner.must(t, `DROP TABLE open.t1500, alien.t1, "Mine".t1; DROP TYPE open.range, open.domain; INSERT INTO open.t1 VALUES (1)`)
	var left int
	if err := owner.Conn.QueryRowContext(testContext(t), "SELECT count(*) FROM pg_class WHERE relname ~ '^[rv][0-9]'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d of the reader's objects are left, %v", left, err)
	}
	_, late := u.bind(t, "late", access.ReadOnly) // many grants are missing
	late.must(t, "SELECT * FROM open.t1")
	_, last := u.bind(t, "last", access.ReadWrite)
	make(last, table("l", "i int"))
	u.gone(t) // in spite of what the last one owns
}

// Many objects of a binding, with an aggregate without arguments among them.
func TestUnbindOfAnAggregate(t *testing.T) {
	u := newUsed(t, newServer(t), "count", "i")
	for _, role := range []access.Role{access.ReadWrite, access.ReadOnly} {
		_, owner := u.bind(t, "owner", access.ReadWrite)
		owner.must(t, "DROP SCHEMA IF EXISTS open CASCADE; CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC")
		bd, own := u.bind(t, string(role), role)
		own.must(t, "SET ROLE NONE; DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE 'CREATE TABLE open.t' || i || ' ()'; END LOOP; END $$")
		own.must(t, "CREATE AGGREGATE open.n(*) (SFUNC = pg_catalog.int8inc, STYPE = int8, INITCOND = '0')")
		own.must(t, "CREATE OPERATOR open.### (FUNCTION = pg_catalog.int4pl, LEFTARG = int, RIGHTARG = int, COMMUTATOR = OPERATOR(open.@@##))")
		u.unbind(t, bd)
	}
	u.gone(t)
}

// An object that is older than its schema goes to the instance with it, and so does the right to
// create more in the schema, of few objects and of many.
func TestUnbindOfASchema(t *testing.T) {
	t.Parallel()
	u := newUsed(t, newServer(t), "schema", "i")
	_, owner := u.bind(t, "owner", access.ReadWrite)
	for name, tables := range map[string]int{"few": 1, "many": 150} {
		bd, own := u.bind(t, name, access.ReadWrite)
		own.must(t, "SET ROLE NONE; CREATE SCHEMA before; CREATE FUNCTION before.f() RETURNS int LANGUAGE sql AS 'SELECT 7'")
		own.must(t, "CREATE SCHEMA "+name+"; ALTER FUNCTION before.f SET SCHEMA "+name)
		own.must(t, fmt.Sprintf("DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE 'CREATE TABLE %s.t' || i || ' ()'; END LOOP; END $$", tables, name))
		u.unbind(t, bd)
		if n := u.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^schema_revoked'"); n != "0" {
			t.Errorf("%s: %s roles were set aside", name, n)
		}
		owner.must(t, "SELECT "+name+".f(); CREATE TABLE "+name+".more (n int); DROP SCHEMA before")
	}
	u.gone(t)
}

// Objects that the administrator may not change, such as tables in a superuser's schema, do
// not prevent an unbind: the role can do nothing any more, and is listed.
func TestUnbindOfWhatCannotBeTaken(t *testing.T) {
	u := newUsed(t, newServer(t), "operator", "i")
	bd, own := u.bind(t, "own", access.ReadWrite)
	n, role := u.b.names.instance(u.inst.Name), u.b.names.role(bd.Name)
	root := u.server.rootIn(t, n.database)
	if _, err := root.Exec("CREATE SCHEMA ops; GRANT ALL ON SCHEMA ops TO " + role); err != nil {
		t.Fatal(err)
	}
	_ = root.Close()
	own.must(t, "SET ROLE NONE; DO $$ BEGIN FOR i IN 1..150 LOOP EXECUTE 'CREATE TABLE ops.t' || i || ' ()'; END LOOP; END $$")
	u.unbind(t, bd)
	if own.Ping(testContext(t)) == nil {
		t.Error("the session goes on")
	}
	if n := u.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^operator_revoked' AND NOT rolcanlogin"); n != "1" {
		t.Errorf("%s roles were set aside", n)
	}
	u.gone(t)
}

// A read_only bind grants what is missing: the first one names the session that it waits for,
// and the second one has nothing to grant and does not wait.
func TestReadOnlyBindBehindATransaction(t *testing.T) {
	server := newServer(t)
	for _, held := range []string{"ALTER TABLE s.t ADD j int", "LOCK TABLE s.t", "CREATE INDEX ON s.t (i)", "CREATE SCHEMA made; CREATE TABLE made.t (i int)", "GRANT CREATE ON SCHEMA s TO PUBLIC"} {
		t.Run(held, func(t *testing.T) {
			u := newUsed(t, server, "behind", held)
			_, owner := u.bind(t, "owner", access.ReadWrite)
			owner.must(t, "CREATE SCHEMA s; CREATE TABLE s.t (i int); CREATE TABLE other (i serial); CREATE VIEW v AS SELECT * FROM other")
			owner.must(t, "BEGIN; "+held)
			first := newBinding(t, u.inst, held, access.ReadOnly)
			began := time.Now()
			_, err := servicetest.Once(u.b).Bind(testContext(t), u.inst, first)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
			var pid int
			if err := owner.Conn.QueryRowContext(testContext(t), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
				t.Fatal(err)
			}
			if pending, ok := errors.AsType[*services.NotYetError](err); ok {
				want := fmt.Sprintf("session %d of user behind_[a-z2-7]{26} [(]in a transaction since 20..-..-.. ..:..:.. UTC[)]", pid)
				if !regexp.MustCompile(want).MatchString(pending.Note) {
					t.Errorf("note: %q", pending.Note)
				}
			} else if err != nil {
				t.Errorf("the first bind: %v", err)
			}
			owner.must(t, "ROLLBACK")
			if _, err := servicetest.Patient(u.b).Bind(testContext(t), u.inst, first); err != nil {
				t.Fatal(err)
			}
			owner.must(t, "BEGIN; "+held)
			_, reader := u.bind(t, "second "+held, access.ReadOnly)
			owner.must(t, "ROLLBACK")
			reader.must(t, "SELECT * FROM s.t, other, v, other_i_seq")
			u.gone(t)
		})
	}
}

// A panic leaves neither the instance's lock nor a connection behind.
func TestPanicGivesLockAndConnectionBack(t *testing.T) {
	u := newUsed(t, newServer(t), "panic", "i")
	bd, _ := u.bind(t, "b", access.ReadWrite)
	broken := *u.b
	broken.names.revoked = naming.Rule{} // what Unbind and Deprovision need at the end
	for name, call := range map[string]func(context.Context) error{
		"unbind": func(ctx context.Context) error { return servicetest.Once(&broken).Unbind(ctx, u.inst, bd) },
		"the first query": func(ctx context.Context) error {
			return u.b.pool.Work(ctx, func(*database.Conn) error { return nil }, lock(exclusive, u.b.names.instance(u.inst.Name)),
				database.Answer{Query: "SELECT 1", Scan: func(*sql.Rows) error { panic("broken") }})
		},
	} {
		t.Run(name, func(t *testing.T) {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				_ = call(testContext(t))
			}()
			if n := u.b.pool.Stats().InUse; n != 0 {
				t.Errorf("%d connections are still in use", n)
			}
			if n := u.server.ask(t, fmt.Sprintf("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %d AND objid = hashtext('%s')::bigint & 4294967295",
				lockSpace, u.b.names.instance(u.inst.Name).database)); n != "0" {
				t.Errorf("%s locks are still held", n)
			}
		})
	}
	u.gone(t)
}
