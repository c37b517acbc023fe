package operation_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// crashes are the operations that a crash interrupts, on what prepared makes.
func crashes() map[string]func(*testing.T, *brokertest.Harness) string {
	return map[string]func(*testing.T, *brokertest.Harness) string{
		"provision j": func(t *testing.T, h *brokertest.Harness) string { return provision(t, h, "j", brokertest.Small, "") },
		"update i":    func(t *testing.T, h *brokertest.Harness) string { return update(t, h, "i", `{"colour": "blue"}`) },
		"bind c":      func(t *testing.T, h *brokertest.Harness) string { return bind(t, h, "i", "c", brokertest.Cascading) },
		"unbind b":    func(t *testing.T, h *brokertest.Harness) string { return unbind(t, h, "i", "b") },
		"bind next to its predecessor": func(t *testing.T, h *brokertest.Harness) string {
			made, err := h.Rotate(brokertest.CallerContext(), "e", "next", broker.Rotation{PredecessorID: "lasting"}, true)
			return begun(t, h, "e", "next", made.OperationData, err)
		},
		"unbind short": func(t *testing.T, h *brokertest.Harness) string {
			return due(t, h, "e", "short", "update bindings set expires_at = now() where id = 'short'")
		},
		"unbind other with its instance, which is retained": func(t *testing.T, h *brokertest.Harness) string { return deprovision(t, h, "k") },
		"deprovision deleted with its time over": func(t *testing.T, h *brokertest.Harness) string {
			id := query[string](t, h, "select id from instances where status = 'kept'")
			return due(t, h, id, "", "update instances set kept_until = now() where status = 'kept'")
		},
		// What the instance had before goes.
		"deprovision empty with deleted in its place": func(t *testing.T, h *brokertest.Harness) string {
			id := query[string](t, h, "select id from instances where status = 'kept'")
			if err := h.Engine.Restore(t.Context(), operation.Restoration{RetainedID: id, NewID: "empty"}); err != nil {
				t.Fatal(err)
			}
			return begun(t, h, id, "", "", nil)
		},
		// The binding goes first.
		"unbind b with its instance": func(t *testing.T, h *brokertest.Harness) string { return deprovision(t, h, "i") },
	}
}

// due lets something's time be over, and waits until a replica has seen to it.
func due(t *testing.T, h *brokertest.Harness, instance, binding, sql string) (operation string) {
	t.Helper()
	before := query[int64](t, h, "select max(seq) from operations")
	if _, err := h.Store.Pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an operation on what is due", func() bool {
		operation = query[string](t, h, "select coalesce(max(id), '') from operations where instance_id = $1 and binding_id = $2 and seq > $3",
			instance, binding, before)
		return operation != ""
	})
	return operation
}

// prepared makes a replica that does not work yet, with an instance i and a
// binding b.
func prepared(t *testing.T) *brokertest.Harness {
	t.Helper()
	return preparedWith(t, func(*brokertest.Harness) {})
}

// preparedAged adds what has a lifetime: e, whose bindings expire; k, which is retained when
// it is deleted, with a binding; one that was deleted and is retained; and an empty
// one.
func preparedAged(t *testing.T) *brokertest.Harness {
	t.Helper()
	return preparedWith(t, func(first *brokertest.Harness) {
		done(t, first, provision(t, first, "e", brokertest.Expiring, ""))
		done(t, first, bind(t, first, "e", "lasting", brokertest.Expiring))
		done(t, first, bind(t, first, "e", "short", brokertest.Expiring))
		for _, id := range []string{"k", "deleted", "empty"} {
			done(t, first, provision(t, first, id, brokertest.Retaining, ""))
		}
		done(t, first, bind(t, first, "k", "other", brokertest.Retaining))
		done(t, first, deprovision(t, first, "deleted"))
	})
}

func preparedWith(t *testing.T, more func(first *brokertest.Harness)) *brokertest.Harness {
	t.Helper()
	first := replicas(t, 1, brokertest.Options{AsyncWait: time.Nanosecond})[0]
	done(t, first, provision(t, first, "i", brokertest.Cascading, ""))
	done(t, first, bind(t, first, "i", "b", brokertest.Cascading))
	more(first)
	first.Stop()
	return brokertest.New(t, brokertest.Options{
		DatabaseURL: first.DatabaseURL, Backend: first.Backend, Credentials: first.Memory, NoWork: true, AsyncWait: time.Nanosecond,
	})
}

// What a killed replica was doing another one ends within seconds.
func TestKilled(t *testing.T) {
	for name, begin := range crashes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := preparedAged(t)
			p := startReplica(t, h.DatabaseURL)
			p.says(t, "ready")
			id := begin(t, h)
			call := strings.Join(strings.Fields(name)[:2], " ")
			p.says(t, "calls "+call)
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			h.Work(t)
			done(t, h, id)
			if took := time.Since(killed); took > 45*time.Second {
				t.Errorf("the operation went on for %s after the crash", took)
			}
			consistent(t, h)
		})
	}
}

// A replica that was paused while it worked, and wakes up when another one has
// ended its operation, records nothing.
func TestPaused(t *testing.T) {
	t.Parallel()
	h := prepared(t)
	p := startReplica(t, h.DatabaseURL)
	p.says(t, "ready")
	id := provision(t, h, "j", brokertest.Small, "")
	p.says(t, "calls provision j")
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.Work(t)
	done(t, h, id)
	before := row(t, h, id)
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := p.input.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}
	// It is awake and well when it takes up the next one.
	h.Stop()
	next := provision(t, h, "k", brokertest.Small, "")
	p.says(t, "calls provision k")
	if _, err := p.input.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}
	done(t, brokertest.New(t, brokertest.Options{DatabaseURL: h.DatabaseURL, Backend: h.Backend, Credentials: h.Memory}), next)
	if after := row(t, h, id); !after.FinishedAt.Equal(*before.FinishedAt) || after.Attempts != before.Attempts {
		t.Errorf("the replica that woke up changed the operation: %+v", after)
	}
	if n := query[int](t, h, "select count(*) from audit where operation_id = $1 and event = 'succeeded'", id); n != 1 {
		t.Errorf("%d records of success", n)
	}
}

const lockHolder = `from pg_locks where locktype = 'advisory' and granted and objsubid = 1
	and ((classid::bigint << 32) | objid::bigint) = hashtextextended('instance/' || $1, 0)
	and database = (select oid from pg_database where datname = current_database())`

// A worker whose lock is lost with its connection is told to stop, records
// nothing, and somebody begins anew.
func TestLockLost(t *testing.T) {
	tests := map[string]bool{"the call notices": false, "the call ends first": true}
	for name, endsFirst := range tests {
		t.Run(name, func(t *testing.T) {
			h := soon(t)
			first, second := brokertest.NewGate(), brokertest.NewGate()
			calls := make(chan struct{}, 1)
			calls <- struct{}{}
			h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error {
				select {
				case <-calls:
					return first.Pass(ctx)
				default:
					return second.Pass(ctx)
				}
			})
			id := provision(t, h, "i", brokertest.Small, "")
			ctx := first.AwaitCall(t)
			if n := query[int](t, h, "select count(pg_terminate_backend(pid)) "+lockHolder, "i"); n != 1 {
				t.Fatalf("%d connections hold the lock", n)
			}
			if endsFirst {
				first.Open()
			} else {
				<-ctx.Done()
			}
			second.AwaitCall(t)
			if op := row(t, h, id); op.State != store.InProgress || op.Attempts != 0 {
				t.Errorf("the loser recorded %s after %d attempts", op.State, op.Attempts)
			}
			second.Open()
			done(t, h, id)
			if n := query[int](t, h, "select count(*) from audit where operation_id = $1 and event = 'succeeded'", id); n != 1 {
				t.Errorf("%d records of success", n)
			}
		})
	}
}

// Waiters learn of an end although nobody listened when it was told.
func TestListenersLost(t *testing.T) {
	t.Parallel()
	hs := replicas(t, 2, brokertest.Options{AsyncWait: time.Nanosecond})
	gate := brokertest.NewGate()
	hs[0].Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	id := provision(t, hs[0], "i", brokertest.Small, "")
	gate.AwaitCall(t)
	results := make(chan store.State, 2)
	for _, h := range hs {
		go func() {
			op, err := h.Engine.Wait(context.Background(), id, 30*time.Second)
			if err != nil {
				op.State = store.State(err.Error())
			}
			results <- op.State
		}()
	}
	n := query[int](t, hs[0], `select count(pg_terminate_backend(pid)) from pg_stat_activity
		where datname = current_database() and query = 'listen chandler_operation'`)
	if n != 2 {
		t.Fatalf("%d listeners", n)
	}
	began := time.Now()
	gate.Open()
	for range hs {
		if state := <-results; state != store.Succeeded {
			t.Errorf("a waiter was told: %s", state)
		}
	}
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("the waiters learned of it after %s", took)
	}
}

// ownServer starts a PostgreSQL server that the test may restart.
func ownServer(t *testing.T) *embedded.Postgres {
	t.Helper()
	embeddedtest.Postgres(t) // skips where there is none
	server, err := embedded.StartPostgres(t.Context(), embedded.Options{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
			t.Error(err)
		}
	})
	return server
}

// An operation goes on when the state database was away for a moment.
func TestDatabaseRestarts(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	h := replicas(t, 1, brokertest.Options{DatabaseURL: server.URL("postgres"), AsyncWait: time.Nanosecond})[0]
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb == "bind" {
			return gate.Pass(ctx)
		}
		return nil
	})
	done(t, h, provision(t, h, "i", brokertest.Cascading, ""))
	id := bind(t, h, "i", "b", brokertest.Cascading)
	gate.AwaitCall(t)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate.Open()
	done(t, h, id)
	if !h.Backend.Works(credentials(t, h, "i", "b")) {
		t.Error("the credentials do not work")
	}
	done(t, h, deprovision(t, h, "i"))
	h.CheckEmpty(t)
}
