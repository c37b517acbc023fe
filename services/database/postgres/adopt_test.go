package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// legacy makes a database as after years of use: one role owns it, another one its tables;
// it has a view, a function and an extension of the superuser's.
func (s *testServer) legacy(t *testing.T, name string) {
	t.Helper()
	s.exec(t, fmt.Sprintf(`CREATE ROLE %[1]s_app LOGIN PASSWORD 'p'; CREATE ROLE %[1]s_owner; GRANT %[1]s_app, %[1]s_owner TO chandler_admin`, name))
	s.exec(t, fmt.Sprintf("CREATE DATABASE %[1]s OWNER %[1]s_owner", name))
	s.exec(t, fmt.Sprintf("GRANT CONNECT ON DATABASE %[1]s TO %[1]s_app", name))
	t.Cleanup(func() {
		s.exec(t, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		s.exec(t, fmt.Sprintf("DROP ROLE %[1]s_app; DROP ROLE %[1]s_owner", name))
	})
	s.inDatabase(t, name, fmt.Sprintf(`CREATE EXTENSION citext; CREATE SCHEMA shop AUTHORIZATION %[1]s_app; SET ROLE %[1]s_app;
		CREATE TABLE shop.orders (id serial PRIMARY KEY, what citext); INSERT INTO shop.orders (what) VALUES ('a lamp');
		CREATE VIEW shop.all_orders AS SELECT * FROM shop.orders;
		CREATE FUNCTION shop.count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM shop.orders'`, name))
}

// rootIn is the superuser in another database, with one connection.
func (s *testServer) rootIn(t *testing.T, name string) *sql.DB {
	t.Helper()
	rootURL := os.Getenv(serverVariable)
	if rootURL == "" {
		rootURL = embeddedtest.Postgres(t).URL("postgres")
	}
	u, err := url.Parse(rootURL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	db, err := sql.Open("postgres", u.String())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// awaitNobody waits until the server has noticed that the sessions in a database have ended.
func (s *testServer) awaitNobody(t *testing.T, name string) {
	t.Helper()
	for tries := 0; s.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = '"+name+"'") != "0"; tries++ {
		if tries > 500 {
			t.Fatal("the session does not end")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// inDatabase runs statements as the superuser in another database.
func (s *testServer) inDatabase(t *testing.T, name, statements string) {
	t.Helper()
	db := s.rootIn(t, name)
	defer func() {
		_ = db.Close()
		s.awaitNobody(t, name)
	}()
	if _, err := db.Exec(statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// adopted checks that the instance has the legacy database's contents, and that no other
// role can connect.
func (s *testServer) adopted(t *testing.T, b *backend, inst instance, name string) {
	t.Helper()
	bd := newBinding(t, inst, "after", "")
	c, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	app := dialled(t, c)
	var what string
	if err := app.Conn.QueryRowContext(testContext(t), "SELECT what FROM shop.all_orders").Scan(&what); err != nil || what != "a lamp" {
		t.Errorf("the view has %q: %v", what, err)
	}
	app.must(t, "INSERT INTO shop.orders (what) SELECT shop.count()::text; ALTER TABLE shop.orders ADD note text; DROP FUNCTION shop.count; CREATE TABLE shop.more (n int)")
	old := *s.admin
	old.User, old.Path = url.UserPassword(name+"_app", "p"), "/"+b.names.instance(inst.Name).database
	if session, err := dial(testContext(t), map[string]any{"uri": old.String() + "?sslmode=disable"}); err == nil {
		_ = session.Close()
		t.Error("a previous user of the database can still connect")
	}
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if left := s.left(t, strings.TrimSuffix(b.names.prefix, "_")); left != nil {
		t.Errorf("left: %v", left)
	}
	if members := s.ask(t, "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE r.rolname LIKE '"+b.names.prefix+"%'"); members != "0" {
		t.Errorf("%s memberships are left", members)
	}
}

// adopt calls Adopt until the backend no longer returns NotYet, as the engine does, and
// returns the steps of the first call.
func adopt(t *testing.T, b *backend, inst instance, resource string) (steps []string, err error) {
	t.Helper()
	err = servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error {
		taken, err := b.Adopt(ctx, services.AdoptRequest[Plan, InstanceParams]{Instance: inst, Resource: resource})
		if steps == nil {
			steps = taken.Steps
		}
		return err
	})
	return steps, err
}

func TestAdopt(t *testing.T) {
	s := newServer(t)
	b := s.backend(t, "adopt")
	s.legacy(t, "legacy_one")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	before := s.left(t, "adopt")
	dry, err := b.Adopt(testContext(t), services.AdoptRequest[Plan, InstanceParams]{Instance: inst, Resource: "legacy_one", DryRun: true})
	if err != nil || !slices.ContainsFunc(dry.Steps, func(step string) bool { return strings.Contains(step, `"legacy_one_app", "legacy_one_owner"`) }) {
		t.Errorf("dry run: %q, %v", dry.Steps, err)
	}
	if after := s.left(t, "adopt"); !slices.Equal(before, after) || s.ask(t, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'legacy_one'") != "legacy_one_owner" {
		t.Errorf("the dry run changed something: %v, %v", before, after)
	}
	done, err := adopt(t, b, inst, "legacy_one")
	if err != nil || !slices.Equal(done, dry.Steps) {
		t.Fatalf("%q, %v", done, err)
	}
	again, err := adopt(t, b, inst, "legacy_one")
	if err != nil || len(again) != 1 || !strings.Contains(again[0], `"legacy_one" was adopted before: it is adopt_`) {
		t.Errorf("again: %q, %v", again, err)
	}
	if _, err := b.Adopt(testContext(t), services.AdoptRequest[Plan, InstanceParams]{Instance: inst, Resource: "legacy_two"}); err == nil || !strings.Contains(err.Error(), `database "legacy_two" does not exist`) {
		t.Errorf("another: %v", err)
	}
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil { // as after a restart of the engine
		t.Error(err)
	}
	s.adopted(t, b, inst, "legacy_one")
}

// The backend does not wait for a session in the database, but returns NotYet.
func TestAdoptDoesNotWait(t *testing.T) {
	s, ctx := newServer(t), testContext(t)
	b := s.backend(t, "adoptin")
	s.legacy(t, "legacy_in")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	in := s.rootIn(t, "legacy_in")
	late := func() error {
		return b.work(ctx, exclusive, b.names.instance(inst.Name), "", []string{versionPart, databasePart, groupsPart}, func(ctx context.Context, admin *session, st *state) error {
			src, err := b.source(ctx, admin, st, "legacy_in")
			if err != nil {
				return err
			}
			if err := in.Ping(); err != nil { // connects after the broker has looked
				return err
			}
			return b.takeOver(ctx, admin, st, inst.Plan, src)
		})
	}
	began := time.Now()
	err := late()
	if _, ok := errors.AsType[*services.NotYetError](err); !ok || time.Since(began) > 8*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	_ = in.Close()
	s.awaitNobody(t, "legacy_in")
	if _, err := adopt(t, b, inst, "legacy_in"); err != nil {
		t.Fatal(err)
	}
	s.adopted(t, b, inst, "legacy_in")
}

// One error names all obstacles, and nothing is changed.
func TestAdoptRefuses(t *testing.T) {
	s := newServer(t)
	b := s.backend(t, "adoptno")
	s.legacy(t, "legacy_no")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servicetest.Patient(b).Deprovision(testContext(t), inst) })
	refused := func(resource string, want ...string) {
		t.Helper()
		for _, dry := range []bool{true, false} {
			_, err := b.Adopt(testContext(t), services.AdoptRequest[Plan, InstanceParams]{Instance: inst, Resource: resource, DryRun: dry})
			message, rejected := services.IsRejected(err)
			for _, w := range want {
				if !rejected || !strings.Contains(message, w) {
					t.Errorf("%s: %v, want %q", resource, err, w)
				}
			}
		}
	}
	refused("legacy_none", "does not exist")
	refused("'; DROP DATABASE legacy_no; --", "does not exist")
	refused("template1", "template")
	refused(b.names.instance(inst.Name).database, "one of this broker's")

	s.exec(t, "REVOKE legacy_no_app FROM chandler_admin")
	s.exec(t, "CREATE DATABASE legacy_no_other OWNER legacy_no_owner")
	s.inDatabase(t, "legacy_no", "CREATE TABLE roots (n int)")
	refused("legacy_no", `is not a member of role "legacy_no_app"`, `"legacy_no_owner" also owns the databases "legacy_no_other"`, "belong to the superusers")
	s.exec(t, "GRANT legacy_no_app TO chandler_admin")
	s.exec(t, "DROP DATABASE legacy_no_other")
	s.inDatabase(t, "legacy_no", "DROP TABLE roots")

	open := s.rootIn(t, "legacy_no")
	if err := open.Ping(); err != nil {
		t.Fatal(err)
	}
	refused("legacy_no", "has 1 sessions", "stop the applications")
	_ = open.Close()

	bd := newBinding(t, inst, "b", "")
	c, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	dialled(t, c).must(t, "CREATE TABLE mine (n int)")
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	refused("legacy_no", "has 1 tables, which would be lost")
}

// After an interruption at any call, a repeated call continues or has nothing to do.
func TestAdoptIsCutOff(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for n, cut := 1, true; cut; n++ {
		t.Run(fmt.Sprintf("call %d", n), func(t *testing.T) {
			cut = s.cutOff(t, n)
		})
		if t.Failed() {
			return
		}
		if !cut && n < 10 {
			t.Errorf("only %d calls", n)
		}
	}
}

func (s *testServer) cutOff(t *testing.T, n int) (cut bool) {
	t.Helper()
	name, prefix := fmt.Sprintf("legacy_cut_%d", n), fmt.Sprintf("cut%d", n)
	whole := s.backend(t, prefix)
	s.legacy(t, name)
	inst := newInstance("i", nil)
	if err := servicetest.Once(whole).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	proxy := servicetest.NewProxy(t, s.admin.Host)
	config, err := services.Decode[Config](s.proxied(proxy.Address(), prefix))
	if err != nil {
		t.Fatal(err)
	}
	victim, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.Close() })
	proxy.Arm(n, servicetest.After)
	_, err = adopt(t, victim, inst, name)
	if _, rejected := services.IsRejected(err); rejected {
		t.Errorf("a lost server is shown as an obstacle: %v", err)
	}
	if cut = proxy.Stopped(); cut {
		_, err = adopt(t, whole, inst, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.adopted(t, whole, inst, name)
	return cut
}
