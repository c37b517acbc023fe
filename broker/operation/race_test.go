package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// errWeather is what fails now and then in a storm.
var errWeather = errors.New("storm")

// storm is a number of clients that send mixed requests for the same few
// instances and bindings to several replicas.
type storm struct {
	replicas []*brokertest.Harness
	watch    *exclusion
	cut      bool // connections to the state are lost, and requests fail for that
	mu       sync.Mutex
	dice     *rand.Rand
}

func (s *storm) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dice.IntN(n)
}

// fails makes one in so many calls fail.
func (s *storm) fails(oneIn int) error {
	if s.roll(oneIn) == 0 {
		return errWeather
	}
	return nil
}

func (s *storm) begin() {
	b, c := s.replicas[0].Backend, s.replicas[0].Memory
	b.BeforeCall(func(_ context.Context, verb, id string) error {
		leave := s.watch.enter(verb, id)
		defer leave()
		time.Sleep(time.Duration(s.roll(3)) * time.Millisecond) // the work
		if s.roll(40) == 0 && (verb == "provision" || verb == "bind") {
			return services.Rejected("not this one")
		}
		if s.roll(20) == 0 {
			return services.NotYet(time.Millisecond, "soon")
		}
		return s.fails(20)
	})
	b.AfterCall(func(_ context.Context, _, _, _ string) error { return s.fails(20) })
	c.Hooks(func(verb string, _ credhub.Path) error {
		if verb == "get" {
			return nil
		}
		return s.fails(40)
	}, func(verb string, _ credhub.Path) error {
		if verb == "get" {
			return nil
		}
		return s.fails(40)
	})
}

func (s *storm) end() {
	s.replicas[0].Backend.BeforeCall(nil)
	s.replicas[0].Backend.AfterCall(nil)
	s.replicas[0].Memory.Hooks(nil, nil)
}

// request sends one random request and returns what it was, and its error.
func (s *storm) request() (string, error) {
	h := s.replicas[s.roll(len(s.replicas))]
	instance := fmt.Sprintf("i%d", s.roll(6))
	binding := fmt.Sprintf("%s/b%d", instance, s.roll(3))
	async := s.roll(4) > 0
	ctx := brokertest.CallerContext()
	colour := json.RawMessage(fmt.Sprintf(`{"colour": "c%d"}`, s.roll(3)))
	var err error
	switch s.roll(11) {
	case 0, 1:
		_, err = h.Provision(ctx, instance, domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Cascading, RawParameters: colour}, async)
		return "provision " + instance, err
	case 2:
		_, err = h.Update(ctx, instance, domain.UpdateDetails{ServiceID: brokertest.Service, RawParameters: colour}, async)
		return "update " + instance, err
	case 3:
		_, err = h.Deprovision(ctx, instance, async)
		return "deprovision " + instance, err
	case 4, 5, 6, 7:
		_, err = h.Bind(ctx, instance, binding, domain.BindDetails{ServiceID: brokertest.Service, PlanID: brokertest.Cascading}, async)
		return "bind " + binding, err
	case 8:
		_, err = h.Store.Pool.Exec(ctx, "update bindings set expires_at = now() where id = $1", binding)
		return "let expire " + binding, err
	}
	_, err = h.Unbind(ctx, instance, binding, async)
	return "unbind " + binding, err
}

// allowed says whether a storm may answer so: never with an error that nobody
// foresaw.
func (s *storm) allowed(err error) bool {
	if err == nil {
		return true
	}
	switch kind := broker.AsError(err).Kind; kind {
	case broker.Internal, broker.Unavailable:
		return s.cut
	case broker.RequiresApp, broker.AsyncRequired, broker.MaintenanceInfoConflict:
		return false
	default:
		return true
	}
}

// Hundreds of mixed operations on two replicas, whose backend and credential
// store fail before and after the fact, leave nothing behind and lose nothing.
func TestStorm(t *testing.T) {
	for _, cut := range []bool{false, true} {
		t.Run(map[bool]string{false: "failing servers", true: "failing servers and lost connections"}[cut], func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			s := &storm{
				replicas: replicas(t, 2, brokertest.Options{AsyncWait: 50 * time.Millisecond, SyncWait: 2 * time.Second}),
				watch:    newExclusion(), cut: cut, dice: rand.New(rand.NewPCG(seed, 0)),
			}
			s.begin()
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 120 {
						if name, err := s.request(); !s.allowed(err) {
							t.Errorf("%s: %v (%v)", name, err, errors.Unwrap(err))
						}
						if s.cut && s.roll(20) == 0 {
							s.lightning(t)
						}
					}
				})
			}
			wg.Wait()
			s.end()
			h := s.replicas[0]
			for _, id := range unfinished(t, h) {
				h.AwaitOperation(t, id) // a bind may end now whose time is over
			}
			// One whose revocation was rejected rests for minutes; tidy deletes it.
			eventually(t, "what is due is begun", func() bool {
				return query[int](t, h, `select count(*) from bindings b where expires_at < now() and status in ('ready', 'delete_failed')
					and not exists (select 1 from operations o where o.binding_id = b.id
						and (o.state = 'in progress' or o.kind = 'expire' and o.created_at >= b.created_at))`) == 0
			})
			for _, id := range unfinished(t, h) {
				h.AwaitOperation(t, id)
			}
			if len(s.watch.broken) > 0 {
				t.Errorf("ran side by side:\n%s", strings.Join(s.watch.broken, "\n"))
			}
			if n := query[int](t, h, "select count(*) from operations"); n < 100 {
				t.Errorf("%d operations are no storm", n)
			}
			tidy(t, h)
			consistent(t, h)
		})
	}
}

// lightning cuts one connection to the state database.
func (s *storm) lightning(t *testing.T) {
	_, err := s.replicas[0].Store.Pool.Exec(context.Background(), `select pg_terminate_backend(pid) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1`)
	if err != nil && !strings.Contains(err.Error(), "57P01") && !strings.Contains(err.Error(), "conn") {
		t.Errorf("cut a connection: %v", err)
	}
}

func unfinished(t *testing.T, h *brokertest.Harness) []string {
	t.Helper()
	return query[[]string](t, h, "select coalesce(array_agg(id), '{}') from operations where state = 'in progress'")
}

// tidy deletes what failed for good, as a platform would.
func tidy(t *testing.T, h *brokertest.Harness) {
	t.Helper()
	for _, id := range query[[]string](t, h, "select coalesce(array_agg(id), '{}') from bindings where status <> 'ready'") {
		done(t, h, unbind(t, h, instanceOf(id), id))
	}
	for _, id := range query[[]string](t, h, "select coalesce(array_agg(id), '{}') from instances where status <> 'ready'") {
		done(t, h, deprovision(t, h, id))
	}
}
