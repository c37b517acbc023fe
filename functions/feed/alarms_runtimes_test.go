package feed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// A trigger that cannot be fired is retried or disabled, depending on the error.
func TestAlarmFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		do    func(ctx context.Context, n int, e feed.Event) (feed.Fired, error)
		fires int
		want  map[string]any // the reason; nil: it goes on
	}{
		{"actions fail", func(context.Context, int, feed.Event) (feed.Fired, error) {
			return feed.Fired{Rules: 2, Failed: 1}, nil
		}, 1, nil},
		{"for a while", func(_ context.Context, n int, _ feed.Event) (feed.Fired, error) {
			if n < 3 {
				return feed.Fired{}, errors.New("the database is away")
			}
			return worked, nil
		}, 3, nil},
		{"panics", func(_ context.Context, n int, _ feed.Event) (feed.Fired, error) {
			if n == 1 {
				panic("broken")
			}
			return worked, nil
		}, 2, nil},
		{"no trigger", func(context.Context, int, feed.Event) (feed.Fired, error) {
			return feed.Fired{}, fmt.Errorf("fire: %w", feed.ErrNoTrigger)
		}, 1, map[string]any{"kind": "AUTO", "statusCode": 404.0, "message": "Trigger automatically disabled: Received a 404 status code when firing the trigger"}},
		{"too large", func(context.Context, int, feed.Event) (feed.Fired, error) {
			return feed.Fired{}, fmt.Errorf("fire: %w", feed.ErrTooLarge)
		}, 1, map[string]any{"kind": "AUTO", "statusCode": 413.0, "message": "Trigger automatically disabled: Received a 413 status code when firing the trigger"}},
		{"throttled", func(context.Context, int, feed.Event) (feed.Fired, error) {
			return feed.Fired{}, fmt.Errorf("fire: %w", feed.ErrThrottled)
		}, 10, map[string]any{"kind": "AUTO", "statusCode": 429.0, "message": "Automatically disabled after continuously receiving a 429 status code when firing the trigger"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.trigger(t, "t")
			clock, f := newClock(noon), &firer{do: test.do}
			r := h.start(t, f, at(clock))
			r.do("CREATE", "alarms/alarm", "t", map[string]any{"cron": "* * * * *"})
			clock.goOn(time.Minute)
			events := f.waitFor(t, test.fires)
			eventually(t, "the fire ends", func() bool { return h.count(t, "feed_fires") == 0 })
			if len(f.fired()) != test.fires {
				t.Errorf("fired %d times, want %d", len(f.fired()), test.fires)
			}
			for _, e := range events {
				if e.ID != events[0].ID {
					t.Errorf("another attempt has another identity")
				}
			}
			got := r.status("alarms/alarm", "t")
			if want := test.want == nil; got["active"] != want {
				t.Errorf("status %v", got)
			}
			if test.want != nil && !cmp.Equal(got["reason"], any(test.want)) {
				t.Errorf("reason %v", got["reason"])
			}
		})
	}
}

// If a runtime is killed between taking a due time and the end of its fire, another one
// fires it, with the same ID.
func TestAlarmRuntimeKilled(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	f := &firer{}
	idle := h.start(t, f, func(o *feed.Options) { o.Clock = newClock(noon).clock() }) // which is in the past, so nothing is due for it
	idle.do("CREATE", "alarms/once", "t", map[string]any{"date": time.Now().Add(time.Second).UnixMilli()})
	lease := 6 * time.Second
	id, kill := h.hangingChild(t, childConfig{Lease: lease})
	other := h.start(t, f, func(o *feed.Options) { o.Pace.Lease = lease })
	time.Sleep(3 * lease / 2)
	if n := len(f.fired()); n != 0 {
		t.Fatalf("%d fires while the first runtime is there", n)
	}
	kill()
	if got := f.waitFor(t, 1)[0].ID; got != id {
		t.Errorf("fired as %s, want %s", got, id)
	}
	eventually(t, "the fire ends", func() bool { return h.count(t, "feed_fires") == 0 })
	if other.status("alarms/once", "t")["active"] != false || len(f.fired()) != 1 {
		t.Errorf("%d fires", len(f.fired()))
	}
}

// A runtime that shuts down releases unfinished fires immediately, not after the lease.
func TestAlarmRuntimeStops(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	clock := newClock(noon)
	hangs := &firer{do: func(ctx context.Context, _ int, _ feed.Event) (feed.Fired, error) {
		<-ctx.Done()
		return feed.Fired{}, ctx.Err()
	}}
	long := func(o *feed.Options) {
		o.Clock, o.Pace.Lease, o.Pace.Grace = clock.clock(), time.Hour, 100*time.Millisecond
	}
	first := h.start(t, hangs, long)
	first.do("CREATE", "alarms/alarm", "t", map[string]any{"cron": "* * * * *"})
	clock.goOn(time.Minute)
	hangs.waitFor(t, 1)
	f := &firer{}
	h.start(t, f, long)
	first.stop()
	if got := f.waitFor(t, 1)[0].ID; got != hangs.fired()[0].ID {
		t.Error("another event was fired")
	}
}

// A deleted namespace or trigger deletes its feeds.
func TestAlarmOwnerGoes(t *testing.T) {
	h := newHouse(t)
	clock, f := newClock(noon), &firer{}
	r := h.start(t, f, at(clock))
	for name, goes := range map[string]func() error{
		"trigger": func() error {
			return h.store.DeleteTrigger(t.Context(), h.store.Pool, state.DeleteTriggerParams{Namespace: space, Name: "t"})
		},
		"namespace ends": func() error {
			_, err := h.store.Pool.Exec(t.Context(), "update namespaces set ending_at = now() where name = $1", space)
			return err
		},
		"namespace": func() error { return h.forget(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := h.forget(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.limit(t, state.Limits{})
			h.trigger(t, "t")
			r.do("CREATE", "alarms/alarm", "t", map[string]any{"cron": "* * * * *", "trigger_payload": "x"})
			if err := goes(); err != nil {
				t.Fatal(err)
			}
			clock.goOn(time.Hour)
			eventually(t, "no feed is left", func() bool { return h.count(t, "feeds") == 0 })
		})
	}
	if n := len(f.fired()); n > 0 {
		t.Errorf("%d fires of what is gone", n)
	}
}

// A namespace that occupies a runtime does not delay others.
func TestAlarmNamespacesShare(t *testing.T) {
	h := newHouse(t)
	const neighbour = "neighbour"
	if _, err := h.store.PutNamespace(t.Context(), h.store.Pool, state.PutNamespaceParams{Name: neighbour, Limits: []byte("{}"), Mounts: []byte("[]")}); err != nil {
		t.Fatal(err)
	}
	clock, release := newClock(noon), make(chan struct{})
	f := &firer{do: func(_ context.Context, _ int, e feed.Event) (feed.Fired, error) {
		if e.Namespace == space {
			<-release
		}
		return worked, nil
	}}
	r := h.start(t, f, at(clock))
	defer close(release)
	h.trigger(t, "t")
	r.do("CREATE", "alarms/alarm", "t", map[string]any{"cron": "* * * * * *"})
	for n := range 70 {
		clock.goOn(time.Second)
		f.waitFor(t, min(n+1, 64))
	}
	err := h.store.PutTrigger(t.Context(), h.store.Pool, state.PutTriggerParams{Namespace: neighbour, Name: "t", Version: "0.0.1", Annotations: []byte("[]"), Parameters: []byte{}, UpdatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	arguments := fmt.Sprintf(`{"lifecycleEvent": "CREATE", "triggerName": "t", "date": %d}`, clock.time().Add(time.Second).UnixMilli())
	if _, err := r.Invoke(t.Context(), neighbour, "alarms/once", []byte(arguments)); err != nil {
		t.Fatal(err)
	}
	clock.goOn(2 * time.Second)
	eventually(t, "the neighbour's fires", func() bool {
		events := f.fired()
		return events[len(events)-1].Namespace == neighbour
	})
	if n := len(f.fired()); n != 65 {
		t.Errorf("%d fires, want 64 that hang and one more", n)
	}
}

// An idle runtime sends no queries for seconds.
func TestAlarmsSleep(t *testing.T) {
	h := newHouse(t)
	h.trigger(t, "t")
	r := h.start(t, &firer{}, func(o *feed.Options) { o.Pace = feed.Pace{} })
	r.do("CREATE", "alarms/once", "t", map[string]any{"date": time.Now().Add(time.Hour).UnixMilli()})
	const quiet = 3 * time.Second // a tenth of how often a runtime looks
	eventually(t, "quiet", func() bool {
		before := h.store.Pool.Stat().AcquireCount()
		time.Sleep(quiet)
		return h.store.Pool.Stat().AcquireCount() == before
	})
}
