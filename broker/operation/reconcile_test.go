package operation_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// keeping is a backend that looks after its instances and says what it is told.
type keeping struct {
	mu     sync.Mutex
	notes  map[string]string
	err    error
	panics bool
	rounds chan []string
}

func newKeeping() (*keeping, *brokertest.Backend) {
	k := &keeping{rounds: make(chan []string, 1000)}
	b := brokertest.NewBackend()
	b.OnReconcile(k.keep)
	return k, b
}

func (k *keeping) keep(ids []string) (map[string]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rounds <- ids
	if k.panics {
		panic("hunter2")
	}
	return maps.Clone(k.notes), k.err
}

func (k *keeping) say(notes map[string]string, err error, panics bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notes, k.err, k.panics = notes, err, panics
}

// wholeRounds waits until two more rounds have begun: what was said before the
// first of them is then recorded.
func (k *keeping) wholeRounds(t *testing.T) []string {
	t.Helper()
	for len(k.rounds) > 0 {
		<-k.rounds
	}
	var ids []string
	for range 2 {
		select {
		case ids = <-k.rounds:
		case <-time.After(40 * time.Second):
			t.Fatal("the backend was not asked to reconcile its instances")
		}
	}
	return ids
}

func condition(t *testing.T, h *brokertest.Harness, id string) any {
	t.Helper()
	details, err := h.FetchInstance(brokertest.CallerContext(), id)
	if err != nil {
		t.Fatal(err)
	}
	return details.Metadata.Attributes["condition"]
}

// What a backend has to tell of its instances is shown for as long as it does.
func TestKeep(t *testing.T) {
	t.Parallel()
	k, b := newKeeping()
	h := replicas(t, 1, brokertest.Options{Backend: b})[0]
	done(t, h, provision(t, h, "full", brokertest.Small, ""))
	done(t, h, provision(t, h, "fine", brokertest.Large, ""))
	ids := k.wholeRounds(t)
	slices.Sort(ids)
	if diff := cmp.Diff([]string{"fine", "full"}, ids); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	steps := []struct {
		name   string
		notes  map[string]string
		err    error
		panics bool
		full   any
	}{
		{"nothing to tell", nil, nil, false, nil},
		{"something to tell", map[string]string{"full": "over its storage"}, nil, false, "over its storage"},
		{"an error changes nothing", nil, errors.New("away"), false, "over its storage"},
		{"an instance at fault is no longer full", map[string]string{}, errors.New("another one is at fault"), false, nil},
		{"an instance is at fault", map[string]string{"full": "over its storage"}, errors.New("it is closed"), false, "over its storage"},
		{"a panic changes nothing", nil, nil, true, "over its storage"},
		{"something else", map[string]string{"full": "hostile \x00 \xff", "unknown": "x"}, nil, false, "hostile \uFFFD \uFFFD"},
		{"nothing any more", nil, nil, false, nil},
	}
	for _, step := range steps {
		k.say(step.notes, step.err, step.panics)
		k.wholeRounds(t)
		if got := condition(t, h, "full"); got != step.full {
			t.Errorf("%s: the condition is %v, not %v", step.name, got, step.full)
		}
		if got := condition(t, h, "fine"); got != nil {
			t.Errorf("%s: the other's condition is %v", step.name, got)
		}
	}
	if jobs := query[string](t, h, "select string_agg(to_json(j)::text, '') from river_job j"); strings.Contains(jobs, "hunter2") {
		t.Error("the panic's value is in the job queue's table")
	}
}

// Ended operations are deleted after their retention; platforms may rely on 72 h.
func TestPrune(t *testing.T) {
	t.Parallel()
	h := prepared(t)
	ages := map[string]string{"i": "72 hours 1 minute", "b": "71 hours 59 minutes"}
	for id, age := range ages {
		_, err := h.Store.Pool.Exec(context.Background(),
			"update operations set created_at = now() - $2::interval, finished_at = now() - $2::interval where coalesce(nullif(binding_id, ''), instance_id) = $1", id, age)
		if err != nil {
			t.Fatal(err)
		}
	}
	h.Backend.BeforeCall(func(context.Context, string, string) error { return errors.New("away") })
	old := provision(t, h, "old", brokertest.Small, "")
	if _, err := h.Store.Pool.Exec(context.Background(), "update operations set created_at = now() - interval '100 days', deadline = now() + interval '1 hour' where id = $1", old); err != nil {
		t.Fatal(err)
	}
	h.Work(t) // prunes when it starts
	left := func() []string {
		return query[[]string](t, h, "select array_agg(coalesce(nullif(binding_id, ''), instance_id) order by seq) from operations")
	}
	eventually(t, "those of b and old are left", func() bool { return cmp.Equal([]string{"b", "old"}, left()) })
}

// A failed operation can be put back to work, however long ago it failed.
func TestRetryOfFailed(t *testing.T) {
	h := soon(t)
	h.Backend.BeforeCall(func(_ context.Context, verb, _ string) error { return errors.New("away") })
	id := provision(t, h, "i", brokertest.Short, "")
	if op := h.AwaitOperation(t, id); op.Outcome != store.OutcomeTimedOut {
		t.Fatalf("ended as %s", op.Outcome)
	}
	_, err := h.Store.Pool.Exec(context.Background(), `update operations set created_at = now() - interval '50 hours',
		deadline = now() - interval '49 hours', finished_at = now() - interval '49 hours'`)
	if err != nil {
		t.Fatal(err)
	}
	h.Backend.BeforeCall(func(ctx context.Context, _, _ string) error { return ctx.Err() }) // it has time
	op, err := h.Engine.Retry(context.Background(), id, []byte(`{"platform":"operator"}`), false)
	if err != nil || op.State != store.InProgress {
		t.Fatalf("retry: %s, %v", op.State, err)
	}
	done(t, h, id)
	consistent(t, h)
	record := query[string](t, h, "select string_agg(action || ' ' || coalesce(originating::text, ''), ', ' order by seq) from audit where operation_id = $1 and event = 'accepted'", id)
	if want := `provision , retry {"platform":"operator"}`; record != want { // the operator's, not the platform's
		t.Errorf("recorded as accepted: %s, want %s", record, want)
	}
}

func TestRetryRefused(t *testing.T) {
	t.Parallel()
	h := prepared(t)
	h.Work(t)
	fails := func(verbs ...string) {
		h.Backend.BeforeCall(func(_ context.Context, verb, id string) error {
			if slices.Contains(verbs, verb+" "+id) {
				return errors.New("away")
			}
			return nil
		})
	}
	done(t, h, provision(t, h, "s", brokertest.Short, ""))
	fails("bind gone", "bind later", "provision deleted")
	gone, later := bind(t, h, "s", "gone", brokertest.Short), bind(t, h, "s", "later", brokertest.Short)
	deleted := provision(t, h, "deleted", brokertest.Short, "")
	for _, id := range []string{gone, later, deleted} {
		if op := h.AwaitOperation(t, id); op.State != store.Failed {
			t.Fatalf("%s %s", op.Kind, op.State)
		}
	}
	fails()
	done(t, h, unbind(t, h, "s", "gone"))
	done(t, h, bind(t, h, "s", "later", brokertest.Short))
	done(t, h, deprovision(t, h, "deleted"))
	succeeded := bind(t, h, "s", "fine", brokertest.Short)
	done(t, h, succeeded)
	tests := map[string]struct{ id, says string }{
		"unknown":           {"none", "there is no operation"},
		"succeeded":         {succeeded, "it is succeeded"},
		"its instance gone": {deleted, "its instance is gone"},
		"its binding gone":  {gone, "its binding is gone"},
		"another since":     {later, "came after it"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := h.Engine.Retry(context.Background(), test.id, nil, false)
			if !errors.Is(err, operation.ErrNotRetryable) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("retry: %v", err)
			}
		})
	}
}
