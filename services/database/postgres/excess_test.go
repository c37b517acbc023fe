package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// until makes rounds until the session has been ended.
func (f *full) until(t *testing.T, ended *client) string {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(20 * time.Millisecond) {
		message := f.reconcile(t)
		if ended.Ping(testContext(t)) != nil {
			return message
		}
	}
	t.Fatal("the session was not ended")
	return ""
}

func TestSessionsWithTooManyLocks(t *testing.T) {
	f := newFull(t, "locks")
	f.inst.Plan.Locks = 1000
	f.writer.must(t, "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 900) n")
	f.reader.must(t, "SELECT count(pg_advisory_lock(n)) FROM generate_series(10001, 11100) n")
	if note := f.until(t, f.reader); note != "locks: a session that held more than the plan's 1000 locks was ended" {
		t.Errorf("note: %q", note)
	}
	if err := f.writer.Ping(testContext(t)); err != nil {
		t.Errorf("a session within the limit was ended: %v", err)
	}
	f.remove(t)
}

// While one session fills the server's table of locks, no other can connect. The broker,
// which is connected, ends it, even if a change of its role makes the server look up that
// role again.
func TestFullTableOfLocks(t *testing.T) {
	f := newFull(t, "tableful")
	f.reconcile(t)
	if n := f.server.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND usename = 'chandler_admin' AND coalesce(backend_xmin, backend_xid) IS NOT NULL"); n != "0" {
		t.Errorf("%s of the administrator's idle transactions keep rows from being vacuumed", n)
	}
	f.reader.must(t, "ALTER ROLE CURRENT_USER PASSWORD 'x'")
	expect(t, f.reader.run(t, "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) n"), "out of shared memory")
	for began := time.Now(); ; {
		_, err := servicetest.Once(f.b).Reconcile(testContext(t), []Plan{f.inst.Plan}, []instance{f.inst})
		if f.reader.Ping(testContext(t)) != nil {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("the session was not ended: %v", err)
		}
	}
	f.reconcile(t)
	dialled(t, f.writerCreds).must(t, "SELECT count(*) FROM pg_class")
	f.remove(t)
}

// A server that does not let the administrator set temp_file_limit is measured.
func TestSessionsWithTooLargeTemporaryFiles(t *testing.T) {
	f := newFull(t, "spill")
	f.inst.Plan.TempFileLimit = services.Megabyte
	f.writer.must(t, "BEGIN; SET LOCAL work_mem = '64kB'; DECLARE small CURSOR WITH HOLD FOR SELECT repeat('x', 1000) FROM generate_series(1, 500); COMMIT")
	f.reader.must(t, "BEGIN; SET LOCAL work_mem = '64kB'; DECLARE large CURSOR WITH HOLD FOR SELECT repeat('x', 1000) FROM generate_series(1, 5000); COMMIT")
	ended := map[string]string{}
	if err := f.b.endSpillers(testContext(t), []instance{f.inst}, ended); err != nil {
		t.Fatal(err)
	}
	if why := ended[f.b.names.instance(f.inst.Name).database]; why != "temporary files: a session that held more than the plan's 1024 kB was ended" {
		t.Errorf("ended: %q", ended)
	}
	f.until(t, f.reader)
	if err := f.writer.Ping(testContext(t)); err != nil {
		t.Errorf("a session within the limit was ended: %v", err)
	}
	f.remove(t)
}

// A plan's new limit of temporary files applies to existing databases, too.
func TestReconcileSetsTheLimitOfTemporaryFiles(t *testing.T) {
	f := newFull(t, "temp")
	if f.server.version < settableTempFiles {
		t.Skip("the administrator cannot set it before PostgreSQL 15")
	}
	for _, limit := range []services.Size{services.Megabyte, 0} {
		f.inst.Plan.TempFileLimit = limit
		f.reconcile(t)
		want := "-1"
		if limit != 0 {
			want = "1MB"
		}
		var got string
		if err := dialled(t, f.writerCreds).Conn.QueryRowContext(testContext(t), "SHOW temp_file_limit").Scan(&got); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	f.remove(t)
}

// The broker ends a session that listens and stays in a transaction, because the server has to
// store all notifications for it.
func TestQueueOfNotifications(t *testing.T) {
	f := newFull(t, "queue")
	f.reader.must(t, "LISTEN c")
	f.reader.must(t, "BEGIN")
	f.writer.must(t, "SELECT count(pg_notify('c', n || repeat('x', 7900))) FROM generate_series(1, 12000) n")
	if note := f.until(t, f.reader); !strings.HasPrefix(note, "notifications: ") {
		t.Errorf("note: %q", note)
	}
	if err := f.writer.Ping(testContext(t)); err != nil {
		t.Errorf("a session that is in no transaction was ended: %v", err)
	}
	if usage := f.server.ask(t, "SELECT pg_notification_queue_usage()"); usage != "0" {
		t.Errorf("the queue is used: %s", usage)
	}
	f.remove(t)
}
