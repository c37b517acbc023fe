package mysql

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// holders are sessions of one binding that hold whatever a tenant can: tables under change,
// locked tables, open transactions, locks by name.
func holders(t *testing.T, credentials services.Credentials) {
	t.Helper()
	statements := [][]string{
		{"LOCK TABLES locked WRITE"},
		{"START TRANSACTION", "INSERT INTO kept VALUES (1)", "DO GET_LOCK('x', 0)"},
		{"START TRANSACTION", "SELECT * FROM v"},
	}
	for i := range 8 {
		statements = append(statements, []string{fmt.Sprintf("CREATE TABLE changing%d AS SELECT SLEEP(600)", i)})
	}
	for _, list := range statements {
		s := dialled(t, credentials)
		for _, statement := range list[:len(list)-1] {
			s.must(t, statement)
		}
		last := make(chan error, 1)
		go func() {
			_, err := s.Conn.ExecContext(context.WithoutCancel(t.Context()), list[len(list)-1])
			last <- err
		}()
		select {
		case err := <-last:
			if err != nil {
				t.Fatalf("%s: %v", list, err)
			}
		case <-time.After(300 * time.Millisecond): // it is at work
		}
	}
}

// Nothing that a binding's sessions hold prevents the broker from reconciling instances, and
// from binding and unbinding others.
func TestSessionsHoldNothingUp(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("held", func(i *instance) { i.Plan.Storage, i.Plan.ConnectionsPerBinding = 1<<20, 20 })
	other := newInstance("other", func(i *instance) { i.Plan.Storage = 1 << 20 })
	for _, i := range []instance{inst, other} {
		if err := servicetest.Once(b).Provision(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	holder, credentials := bound(t, b, inst, "holder", access.ReadWrite)
	leaving, leaves := bound(t, b, inst, "leaving", access.ReadWrite)
	_, others := bound(t, b, other, "b", access.ReadWrite)
	dialled(t, leaves).must(t, "CREATE TABLE kept (n INT)", "CREATE TABLE locked (n INT)", "CREATE VIEW v AS SELECT * FROM kept")
	dialled(t, others).must(t, makeBig, fill)
	holders(t, credentials)

	within := func(what string, work func() error) {
		t.Helper()
		start := time.Now()
		if err := work(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(start); took > 4*time.Second { // one wait for a table is 5 s
			t.Errorf("%s took %s", what, took)
		}
	}
	var notes map[string]services.Condition
	reconcile := func() (err error) {
		notes, err = servicetest.Once(b).Reconcile(ctx, []Plan{inst.Plan}, []instance{inst, other})
		return err
	}
	within("reconcile", reconcile)
	if notes[other.ID].Reason != services.OverQuota {
		t.Errorf("conditions: %v", notes)
	}
	reading := newBinding(t, inst, "reading", access.ReadOnly)
	within("bind", func() error { _, err := servicetest.Once(b).Bind(ctx, inst, reading); return err })
	within("verify", func() error { return servicetest.Once(b).Verify(ctx, inst, reading) })
	within("update", func() error {
		next := inst
		next.Plan.Storage = 1 << 30
		return servicetest.Once(b).Update(ctx, inst, next)
	})
	within("unbind", func() error { return servicetest.Patient(b).Unbind(ctx, inst, leaving) })
	// The server ends these sessions at its own pace; the context ends first if the unbind waits for what they do.
	if err := servicetest.Patient(b).Unbind(ctx, inst, holder); err != nil {
		t.Errorf("unbind the holder: %v", err)
	}
	for _, i := range []instance{inst, other} {
		if err := servicetest.Patient(b).Deprovision(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	server.nothingLeft(t)
}

// An unbind does not wait for a session that rolls back, whose client is disconnected.
func TestUnbindDoesNotWaitForRollback(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd, credentials := bound(t, b, inst, "b", access.ReadWrite)
	s := dialled(t, credentials)
	s.must(t, "CREATE TABLE t (n INT, k INT, INDEX (k))", "SET innodb_lock_wait_timeout = 1", "START TRANSACTION",
		"INSERT INTO t SELECT seq, MOD(seq * 7919, 1000003) FROM seq_1_to_400000")
	if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
		if _, waits := errors.AsType[*services.NotYetError](err); !waits {
			t.Fatal(err)
		}
		t.Error("the unbind waits for the rollback")
	}
	if s.Ping(ctx) == nil {
		t.Error("the session goes on")
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
}

// Very many tables and views are dropped in batches, whatever their references, so that each
// attempt makes progress.
func TestDeprovisionInBatches(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t)
	inst := newInstance("many", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "b", access.ReadWrite)
	s := dialled(t, credentials)
	s.must(t, "CREATE TABLE a_parent (n INT PRIMARY KEY)", "CREATE TABLE z_child (n INT, FOREIGN KEY (n) REFERENCES a_parent (n))",
		"CREATE SEQUENCE `a strange ``name`", "CREATE TRIGGER g BEFORE INSERT ON a_parent FOR EACH ROW SET @x = 1")
	for i := range 2 * dropBatch {
		s.must(t, fmt.Sprintf("CREATE VIEW v%d AS SELECT n FROM a_parent", i))
	}
	calls := 1
	err := servicetest.ToTheEnd(ctx, func(ctx context.Context) error {
		err := servicetest.Once(b).Deprovision(ctx, inst)
		if err != nil {
			calls++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 3 {
		t.Errorf("%d tables and views went in %d calls", 2*dropBatch+3, calls)
	}
	server.nothingLeft(t)
}
