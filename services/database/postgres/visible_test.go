package postgres

import (
	"fmt"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func (c *client) pid(t *testing.T) string {
	t.Helper()
	return c.asks(t, "SELECT pg_backend_pid()")
}

// asks returns the one value of a query.
func (c *client) asks(t *testing.T, query string) string {
	t.Helper()
	var answer string
	if err := c.Conn.QueryRowContext(testContext(t), query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

// An application sees and ends the sessions of its own instance, of bindings made
// before and after, and no others.
func TestSessionsOfTheOwnInstance(t *testing.T) {
	f := newFull(t, "visible")
	other, _, foreign := f.neighbour(t)
	f.reconcile(t)
	lateCreds, err := servicetest.Once(f.b).Bind(testContext(t), f.inst, newBinding(t, f.inst, "late", access.ReadWrite))
	if err != nil {
		t.Fatal(err)
	}
	late, stranger := dialled(t, lateCreds), dialled(t, foreign)
	for who, c := range map[string]*client{"the reader": f.reader, "a later binding": late} {
		if query := f.writer.asks(t, "SELECT query FROM chandler.sessions() WHERE pid = "+c.pid(t)); query != "SELECT pg_backend_pid()" {
			t.Errorf("the last query of %s: %q", who, query)
		}
		if ended := f.writer.asks(t, "SELECT chandler.terminate("+c.pid(t)+")"); ended != "true" {
			t.Errorf("the session of %s was not ended", who)
		}
		if c.Ping(testContext(t)) == nil {
			t.Errorf("the session of %s goes on", who)
		}
	}
	if n := f.writer.asks(t, "SELECT count(*) FROM chandler.sessions() WHERE pid = "+stranger.pid(t)); n != "0" {
		t.Error("another instance's session is shown")
	}
	for _, pid := range []string{stranger.pid(t), f.server.ask(t, "SELECT pg_backend_pid()")} {
		for _, function := range []string{"cancel", "terminate"} {
			if err := f.writer.run(t, fmt.Sprintf("SELECT chandler.%s(%s)", function, pid)); err == nil {
				t.Errorf("%s of another's session was let through", function)
			}
		}
	}
	again := dialled(t, f.readerCreds)
	for _, refused := range []string{"SELECT chandler.sessions()", "SELECT chandler.terminate(" + f.writer.pid(t) + ")"} {
		expect(t, again.run(t, refused), "permission denied")
	}
	for _, refused := range []string{"DROP SCHEMA chandler CASCADE", "CREATE OR REPLACE FUNCTION chandler.cancel(pid int) RETURNS bool LANGUAGE sql AS 'SELECT true'",
		"ALTER FUNCTION chandler.cancel(int) SET search_path = public", "CREATE TABLE chandler.t (n int)", "SET ROLE " + f.b.names.instance(f.inst.Name).sessions} {
		if err := f.writer.run(t, refused); err == nil {
			t.Errorf("%s: was let through", refused)
		}
	}
	// A session in its binding's own role sees those of that binding without them.
	f.writer.must(t, "SET ROLE NONE")
	mine := dialled(t, f.writerCreds)
	if ended := f.writer.asks(t, "SELECT pg_terminate_backend("+mine.pid(t)+")"); ended != "true" {
		t.Error("the binding's other session was not ended")
	}
	f.remove2(t, other)
}

// Locking and unlocking the instance does not change the functions.
func TestSessionsOfAFullDatabase(t *testing.T) {
	f := newFull(t, "shown")
	f.reconcile(t)
	writer, _ := f.locked(t)
	writer.must(t, "TRUNCATE big")
	f.converge(t)
	reader := dialled(t, f.readerCreds)
	if ended := dialled(t, f.writerCreds).asks(t, "SELECT chandler.terminate("+reader.pid(t)+")"); ended != "true" {
		t.Error("the session was not ended")
	}
	f.remove(t)
}

// A tenant's own schema of that name stays, and causes no error.
func TestSessionsBesideATenantsSchema(t *testing.T) {
	f := newFull(t, "owned")
	f.writer.must(t, "CREATE SCHEMA chandler; CREATE TABLE chandler.sessions (n int)")
	f.reconcile(t)
	f.reconcile(t)
	f.writer.must(t, "SELECT * FROM chandler.sessions; DROP SCHEMA chandler CASCADE")
	f.remove(t)
}

// An earlier release that removes an instance leaves the role behind.
func TestSessionsRoleOfAnInstanceThatIsGone(t *testing.T) {
	f := newFull(t, "stray")
	f.reconcile(t)
	stays := f.b.names.instance(f.inst.Name).sessions
	stray := f.b.names.instance(services.InstanceName("removed by an older release")).sessions
	if _, err := f.b.pool.ExecContext(testContext(t), "CREATE ROLE "+ident(stray)+" NOLOGIN"); err != nil {
		t.Fatal(err)
	}
	f.reconcile(t)
	for role, want := range map[string]string{stays: "1", stray: "0"} {
		if n := f.server.ask(t, "SELECT count(*) FROM pg_roles WHERE rolname = "+literal(role)); n != want {
			t.Errorf("%s: %s roles, want %s", role, n, want)
		}
	}
}
