package operation_test

import (
	"context"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// moments are when a delete may find a create: each returns a broker on which
// that create is in progress, the create's operation, and what lets it go on.
func moments(verb string, begin func(*testing.T, *brokertest.Harness) string) map[string]func(*testing.T) (h *brokertest.Harness, operation string, goOn func()) {
	return map[string]func(*testing.T) (*brokertest.Harness, string, func()){
		"before the call": func(t *testing.T) (*brokertest.Harness, string, func()) {
			h := prepared(t)
			return h, begin(t, h), func() { h.Work(t) }
		},
		"in the call": func(t *testing.T) (*brokertest.Harness, string, func()) {
			h := prepared(t)
			h.Work(t)
			gate := brokertest.NewGate()
			h.Backend.BeforeCall(func(ctx context.Context, v, _ string) error {
				if v == verb {
					return gate.Pass(ctx)
				}
				return nil
			})
			id := begin(t, h)
			gate.AwaitCall(t)
			return h, id, func() {}
		},
		"in a call that does not notice": func(t *testing.T) (*brokertest.Harness, string, func()) {
			h := prepared(t)
			h.Work(t)
			gate := brokertest.NewGate()
			t.Cleanup(gate.Open)
			h.Backend.BeforeCall(func(_ context.Context, v, _ string) error {
				if v == verb {
					return gate.Pass(context.Background())
				}
				return nil
			})
			id := begin(t, h)
			gate.AwaitCall(t)
			return h, id, func() {
				// Whoever goes on waits for the end of the call.
				eventually(t, "the next job was turned away", func() bool {
					return query[bool](t, h, "select coalesce(max((metadata->>'snoozes')::int), 0) > 0 from river_job where kind = 'operation'")
				})
				gate.Open()
			}
		},
		"after the effect": func(t *testing.T) (*brokertest.Harness, string, func()) {
			h := prepared(t)
			h.Work(t)
			gate := brokertest.NewGate()
			t.Cleanup(gate.Open)
			h.Backend.AfterCall(func(_ context.Context, v, _, _ string) error {
				if v == verb {
					return gate.Pass(context.Background()) // it does not notice that it was cancelled
				}
				return nil
			})
			id := begin(t, h)
			gate.AwaitCall(t)
			return h, id, gate.Open
		},
		"between two calls": func(t *testing.T) (*brokertest.Harness, string, func()) {
			h := prepared(t)
			h.Work(t)
			called := make(chan struct{}, 10)
			h.Backend.BeforeCall(func(_ context.Context, v, _ string) error {
				if v != verb {
					return nil
				}
				called <- struct{}{}
				return services.NotYet(time.Minute, "soon")
			})
			id := begin(t, h)
			<-called
			return h, id, func() {}
		},
	}
}

// A delete that arrives during a create halts it, goes on to delete, and leaves
// nothing, whenever it comes.
func TestDeleteDuringCreate(t *testing.T) {
	kinds := []struct {
		verb, binding string
		begin         func(*testing.T, *brokertest.Harness) string
		delete        func(*brokertest.Harness) (operation string, err error)
	}{
		{"provision", "", func(t *testing.T, h *brokertest.Harness) string { return provision(t, h, "j", brokertest.Small, "") },
			func(h *brokertest.Harness) (string, error) {
				return h.Deprovision(brokertest.CallerContext(), "j", true)
			}},
		{"bind", "c", func(t *testing.T, h *brokertest.Harness) string { return bind(t, h, "i", "c", brokertest.Cascading) },
			func(h *brokertest.Harness) (string, error) {
				return h.Unbind(brokertest.CallerContext(), "i", "c", true)
			}},
	}
	for _, kind := range kinds {
		for name, moment := range moments(kind.verb, kind.begin) {
			t.Run(kind.verb+": "+name, func(t *testing.T) {
				t.Parallel()
				h, create, goOn := moment(t)
				began := time.Now()
				instance := "i"
				if kind.binding == "" {
					instance = "j"
				}
				id, err := kind.delete(h)
				id = begun(t, h, instance, kind.binding, id, err)
				again, err := kind.delete(h)
				// Where the delete has ended meanwhile, the answer is its success, or that nothing is there.
				ended := err == nil && again == "" || err != nil && broker.AsError(err).Kind == broker.Gone
				if again != id && !ended {
					t.Errorf("the same delete once more: operation %q and not %q, %v", again, id, err)
				}
				goOn()
				done(t, h, id)
				if took := time.Since(began); took > 25*time.Second {
					t.Errorf("the delete took %s", took)
				}
				if op := row(t, h, create); op.State != store.Failed || op.Outcome != store.OutcomePreempted {
					t.Errorf("the create ended as %s, %s", op.State, op.Outcome)
				}
				if poll, err := h.Poll(brokertest.CallerContext(), instance, kind.binding, create); err != nil || poll.State != store.Succeeded {
					t.Errorf("a poll of the create tells %+v, %v; not the delete's success", poll, err)
				}
				consistent(t, h)
				if n := query[int](t, h, "select count(*) from audit where operation_id = $1 and event = 'cancelled'", create); n != 1 {
					t.Errorf("%d records of the halt", n)
				}
			})
		}
	}
}

// A client that cannot poll and stops waiting has its operation undone at once,
// whatever that is doing.
func TestCancel(t *testing.T) {
	begin := func(t *testing.T, h *brokertest.Harness) string { return provision(t, h, "j", brokertest.Small, "") }
	for name, moment := range moments("provision", begin) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, id, goOn := moment(t)
			if err := h.Engine.Cancel(context.Background(), id, "nobody waits"); err != nil {
				t.Fatal(err)
			}
			goOn()
			op := h.AwaitOperation(t, id)
			if op.State != store.Failed || op.Outcome != store.OutcomeCancelled || op.Description != "nobody waits" || !op.Usable {
				t.Errorf("ended as %s, %s: %q", op.State, op.Outcome, op.Description)
			}
			if took := op.FinishedAt.Sub(op.CreatedAt); took > 40*time.Second {
				t.Errorf("it took %s", took)
			}
			if _, there := h.Backend.Colour("j"); there {
				t.Error("it was not undone")
			}
			if err := h.Engine.Cancel(context.Background(), id, "too late"); err != nil {
				t.Fatal(err)
			}
			if again := row(t, h, id); again.Description != "nobody waits" {
				t.Errorf("cancelled again: %q", again.Description)
			}
		})
	}
}

// A call ends soon after its operation was turned around, even where the
// notification of that never came.
func TestNotificationLost(t *testing.T) {
	h := soon(t)
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb == "provision" {
			return gate.Pass(ctx)
		}
		return nil
	})
	id := provision(t, h, "i", brokertest.Small, "")
	ctx := gate.AwaitCall(t)
	if _, err := h.Store.BeginUndo(context.Background(), h.Store.Pool, store.BeginUndoParams{ID: id, Outcome: store.OutcomeCancelled}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	<-ctx.Done()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the call went on for %s", took)
	}
	if op := h.AwaitOperation(t, id); op.Outcome != store.OutcomeCancelled {
		t.Errorf("ended as %s", op.Outcome)
	}
}

// A clean-up that begins after the deadline, because the whole broker was down,
// still gets its chance.
func TestAfterAnOutage(t *testing.T) {
	t.Parallel()
	h := prepared(t)
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if verb == "deprovision" {
			gate.Open()
			return gate.Pass(ctx)
		}
		return nil
	})
	id := provision(t, h, "j", brokertest.Small, "")
	unbound := unbind(t, h, "i", "b")
	if _, err := h.Store.Pool.Exec(context.Background(), "update operations set created_at = now() - interval '3 hours', deadline = now() - interval '2 hours'"); err != nil {
		t.Fatal(err)
	}
	h.Work(t)
	if op := h.AwaitOperation(t, id); op.Outcome != store.OutcomeTimedOut || !op.Usable {
		t.Errorf("ended as %s, usable %v: %q", op.Outcome, op.Usable, op.LastError)
	}
	done(t, h, unbound)
}

// The client that waits for a preempted create learns why.
func TestWaiterOfHaltedCreate(t *testing.T) {
	t.Parallel()
	h := replicas(t, 1, brokertest.Options{})[0]
	gate := brokertest.NewGate()
	h.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb == "provision" {
			return gate.Pass(ctx)
		}
		return nil
	})
	answer := make(chan error, 1)
	go func() {
		_, err := h.Provision(brokertest.CallerContext(), "i", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Small}, false)
		answer <- err
	}()
	gate.AwaitCall(t)
	done(t, h, deprovision(t, h, "i"))
	began := time.Now()
	err := <-answer
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it was told after %s", took)
	}
	if err == nil || broker.AsError(err).Kind != broker.Concurrency {
		t.Errorf("the client of the create was told: %v", err)
	}
	h.CheckEmpty(t)
}
