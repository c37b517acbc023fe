package mysql

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// An instance has at most as many bindings as its plan allows; a repeated bind counts once.
func TestBindingsLimit(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", func(i *instance) { i.Plan.Bindings = 2 })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	one, credentials := bound(t, b, inst, "1", access.ReadWrite)
	bound(t, b, inst, "2", access.ReadOnly)
	if _, err := servicetest.Once(b).Bind(ctx, inst, one); err != nil {
		t.Errorf("a repeated bind: %v", err)
	}
	third := newBinding(t, inst, "3", access.ReadWrite)
	_, err := servicetest.Once(b).Bind(ctx, inst, third)
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "allows 2 bindings") {
		t.Errorf("a third: %v", err)
	}
	// An account that stays as a definer does not count.
	dialled(t, credentials).must(t, "CREATE PROCEDURE p() SELECT 1")
	if err := servicetest.Patient(b).Unbind(ctx, inst, one); err != nil {
		t.Fatal(err)
	}
	if _, err := servicetest.Once(b).Bind(ctx, inst, third); err != nil {
		t.Error(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// Another plan applies to existing bindings, whose sessions continue.
func TestUpdateChangesLimits(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", func(i *instance) { i.Plan.ConnectionsPerBinding = 2 })
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "1", access.ReadWrite)
	live := dialled(t, credentials)
	next := inst
	next.Plan.ConnectionsPerBinding, next.Plan.StatementTimeout = 4, services.Duration(1.5e9)
	for _, step := range []struct {
		prev, next instance
		sessions   int
		timeout    string
	}{{inst, next, 3, "1.5"}, {next, inst, 1, "0"}} {
		if err := servicetest.Once(b).Update(ctx, step.prev, step.next); err != nil {
			t.Fatal(err)
		}
		if in := openSessions(t, 6, credentials.Values); in != step.sessions {
			t.Errorf("%d more sessions were let in, want %d", in, step.sessions)
		}
		// The server counts closed sessions for a moment.
		var session *client
		eventually(t, func() bool {
			s, err := mysqldb.Dial(ctx, credentials.Values)
			if err == nil {
				session = clientOf(s)
			}
			return err == nil
		})
		if got := session.ask(t, "SELECT @@max_statement_time"); got != step.timeout {
			t.Errorf("time-out: %s, want %s", got, step.timeout)
		}
		_ = session.Close()
		live.must(t, "SELECT 1")
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// A prepared distributed transaction locks its tables. The error tells the operator, and the
// next attempt succeeds.
func TestPreparedTransactionIsNamed(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "1", access.ReadWrite)
	dialled(t, credentials).must(t, "CREATE TABLE t (n INT)", "XA START 'x'", "INSERT INTO t VALUES (1)", "XA END 'x'", "XA PREPARE 'x'")
	expect(t, servicetest.Patient(b).Deprovision(ctx, inst), "XA ROLLBACK ends one")
	server.exec(t, "XA ROLLBACK 'x'")
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}
