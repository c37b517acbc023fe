package operation_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

const jobs = "select count(*) from river_job where kind = 'operation'"

// What a replica accepts it attempts at once, and no job is written for it.
func TestDirectly(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Cascading, ""))
	done(t, h, bind(t, h, "i", "b", brokertest.Cascading))
	done(t, h, update(t, h, "i", `{"colour": "blue"}`))
	done(t, h, unbind(t, h, "i", "b"))
	done(t, h, deprovision(t, h, "i"))
	if n := query[int](t, h, jobs); n != 0 {
		t.Errorf("%d jobs", n)
	}
	h.CheckEmpty(t)
}

// The answer of a bind is what was written, also to those who ask when it is not
// remembered any more.
func TestAnswerIsWhatWasWritten(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Cascading, ""))
	id := bind(t, h, "i", "b", brokertest.Cascading)
	done(t, h, id)
	ended, ok := h.Engine.Ended(id)
	if !ok || ended.Credentials == nil || ended.Operation.State != store.Succeeded {
		t.Fatalf("%+v, %t", ended.Operation, ok)
	}
	stored := credentials(t, h, "i", "b")
	if fmt.Sprint(ended.Credentials.Values) == "" || !h.Backend.Works(stored) {
		t.Errorf("stored: %s", stored)
	}
	eventually(t, "the credentials are forgotten", func() bool { _, ok := h.Engine.Ended(id); return !ok })
}

// An operation that waits for longer than a moment gets a job.
func TestWaitsAsJob(t *testing.T) {
	tests := map[string]error{
		"a long time":         services.NotYet(3*time.Second, "later"),
		"many short times":    services.NotYet(100*time.Millisecond, "later"),
		"errors, over a time": fmt.Errorf("a fault"),
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			h := soon(t)
			began := time.Now()
			h.Backend.BeforeCall(func(context.Context, string, string) error {
				if time.Since(began) < 7*time.Second {
					return fault
				}
				return nil
			})
			id := provision(t, h, "i", brokertest.Small, "")
			eventually(t, "a job", func() bool { return row(t, h, id).JobID != 0 })
			done(t, h, id)
		})
	}
}

// More than there are workers: what finds none waits in the queue, and all end.
func TestMoreThanWorkers(t *testing.T) {
	h := soon(t)
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	var ids []string
	for i := range 40 {
		ids = append(ids, provision(t, h, fmt.Sprint(i), brokertest.Small, ""))
	}
	const workers, reserved = 16, 4
	for range workers - reserved {
		gate.AwaitCall(t)
	}
	eventually(t, "the others have jobs", func() bool {
		return query[int](t, h, "select count(*) from operations where job_id = 0") == workers-reserved
	})
	for range reserved {
		gate.AwaitCall(t)
	}
	gate.Open()
	for _, id := range ids {
		done(t, h, id)
	}
}

// More at once than there are workers, and all are soon done: none needs a job.
func TestBurst(t *testing.T) {
	h := soon(t)
	h.Backend.BeforeCall(func(context.Context, string, string) error { time.Sleep(10 * time.Millisecond); return nil })
	var ids []string
	for i := range 60 {
		ids = append(ids, provision(t, h, fmt.Sprint(i), brokertest.Small, ""))
	}
	for _, id := range ids {
		done(t, h, id)
	}
	if n := query[int](t, h, jobs); n != 0 {
		t.Errorf("%d jobs", n)
	}
}

// A replica that stops leaves what it attempts to another one.
func TestStopHandsOver(t *testing.T) {
	t.Parallel()
	hs := replicas(t, 2, brokertest.Options{AsyncWait: time.Nanosecond})
	gate := brokertest.NewGate()
	hs[0].Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return gate.Pass(ctx) })
	id := provision(t, hs[0], "i", brokertest.Small, "")
	gate.AwaitCall(t)
	hs[0].Stop()
	if row(t, hs[1], id).JobID == 0 {
		t.Error("it has no job")
	}
	gate.AwaitCall(t)
	gate.Open()
	done(t, hs[1], id)
	if n := query[int](t, hs[1], "select count(*) from audit where operation_id = $1 and event = 'succeeded'", id); n != 1 {
		t.Errorf("%d records of success", n)
	}
}

// A replica that is killed while it attempts what it has accepted: another one goes on
// within seconds.
func TestKilledDirectly(t *testing.T) {
	for _, call := range []string{"provision j", "bind c", "unbind b"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			h := prepared(t)
			p := startReplica(t, h.DatabaseURL, call)
			p.says(t, "calls "+call)
			id := query[string](t, h, "select id from operations where state = 'in progress'")
			if row(t, h, id).JobID != 0 {
				t.Error("it has a job")
			}
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
