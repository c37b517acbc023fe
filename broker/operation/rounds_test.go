package operation_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/services"
)

// looked records the batches of instances that Reconcile was called with.
type looked struct {
	mu      sync.Mutex
	batches [][]string
}

func (l *looked) add(ids []string) (batches int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches = append(l.batches, ids)
	return len(l.batches)
}

// reached returns how many instances and batches there were.
func (l *looked) reached() (instances, batches int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]bool{}
	for _, b := range l.batches {
		for _, id := range b {
			all[id] = true
		}
	}
	return len(all), len(l.batches)
}

// Of 20,000 instances each is reached once 40 batches were taken, whichever replica
// takes them, although one of the batches fails and another one panics: a round
// goes on where it was, and begins anew only at its end.
func TestRoundReachesAll(t *testing.T) {
	t.Parallel()
	const instances, batches = 20_000, 40
	var l looked
	b := brokertest.NewBackend()
	tenth := make(chan struct{})
	b.OnReconcile(func(ids []string) (map[string]string, error) {
		switch n := l.add(ids); n {
		case 5:
			return nil, errors.New("one of these is at fault")
		case 10:
			close(tenth)
		case 15:
			panic("one of these is at fault")
		}
		return nil, nil
	})
	hs := replicas(t, 2, brokertest.Options{Backend: b, NoWork: true})
	_, err := hs[0].Store.Pool.Exec(t.Context(), `insert into instances (id, platform, service_id, plan_id, organization_id, space_id, context, parameters, maintenance_version, status)
		select 'i' || n, 'cf', $1, $2, 'org', 'space', '{}', '{}', '', 'ready' from generate_series(1, $3::int) n`, brokertest.Service, brokertest.Small, instances)
	if err != nil {
		t.Fatal(err)
	}
	hs[0].Work(t)
	<-tenth
	hs[0].Stop()
	hs[1].Work(t)
	eventually(t, "all are reached", func() bool { n, _ := l.reached(); return n == instances })
	// The batch that the halt interrupted may be taken once more, and the last one is empty.
	if _, n := l.reached(); n > batches+2 {
		t.Errorf("it took %d batches, want %d", n, batches)
	}
}

// A replica that is killed during a batch leaves its server to another one at once:
// what holds the round is a lock that ends with its connection.
func TestRoundOutlivesItsReplica(t *testing.T) {
	t.Parallel()
	calls, hang := make(chan struct{}, 100), make(chan struct{})
	var first sync.Once
	b := brokertest.NewBackend()
	b.OnReconcile(func([]string) (map[string]string, error) {
		calls <- struct{}{}
		first.Do(func() { <-hang })
		return nil, nil
	})
	hs := replicas(t, 2, brokertest.Options{Backend: b})
	t.Cleanup(func() { close(hang) })
	<-calls
	eventually(t, "the batch's connection is cut", func() bool {
		return query[int](t, hs[0], `select count(*) from (select pg_terminate_backend(pid) from pg_locks
			where relation = 'rounds'::regclass and mode = 'RowShareLock' and granted and pid <> pg_backend_pid()) ended`) > 0
	})
	select {
	case <-calls:
	case <-time.After(20 * time.Second):
		t.Error("no replica goes on with the round")
	}
}

// Conditions are recorded with their reason.
func TestConditionReason(t *testing.T) {
	t.Parallel()
	k, b := newKeeping()
	h := replicas(t, 1, brokertest.Options{Backend: b})[0]
	done(t, h, provision(t, h, "i", brokertest.Small, ""))
	for _, step := range []struct {
		notes map[string]string
		want  services.Reason
	}{{map[string]string{"i": "over its storage"}, services.OverQuota}, {nil, ""}} {
		k.say(step.notes, nil, false)
		k.wholeRounds(t)
		if got := query[string](t, h, "select condition_reason from instances"); got != string(step.want) {
			t.Errorf("the reason is %q, want %q", got, step.want)
		}
	}
	if !slices.Contains(services.Reasons(), services.OverQuota) || !slices.Contains(services.Reasons(), services.Inaccessible) {
		t.Errorf("all reasons are %v", services.Reasons())
	}
}
