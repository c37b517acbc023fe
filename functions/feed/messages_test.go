package feed_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// queued is a house with a trigger t, servers with a stream ORDERS, and an
// application that publishes to it.
type queued struct {
	*house
	*servers
	app         *application
	credentials map[string]any // of the trigger's binding
}

func newQueued(t *testing.T) *queued {
	t.Helper()
	h, s := newHouse(t), newServers(t, 1)
	h.trigger(t, "t")
	q := &queued{house: h, servers: s, app: connect(t, s.bind(t, "app", `{}`)), credentials: s.bind(t, "trigger", `{}`)}
	q.app.stream(nil)
	return q
}

// A message becomes an event, and is acknowledged after its actions have succeeded.
func TestMessage(t *testing.T) {
	q := newQueued(t)
	release := make(chan struct{})
	f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) { <-release; return worked, nil }}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", `{"id": 7}`, nats.Header{"X-Mine": {"a", "b"}})
	event := f.waitFor(t, 1)[0]
	if info := q.app.only(); info.NumAckPending != 1 || info.AckFloor.Stream != 0 {
		t.Errorf("acknowledged before the activation has ended: %+v", info)
	}
	close(release)
	q.app.acknowledged(1)
	want := map[string]any{
		"data": map[string]any{"id": 7.0},
		"cloudevent": map[string]any{
			"specversion": "1.0", "id": "ORDERS:1", "source": "nats:orders.new", "subject": "orders.new",
			"type": "io.github.chandler-broker.message", "datacontenttype": "application/json",
		},
		"message": map[string]any{
			"stream": "ORDERS", "subject": "orders.new", "sequence": 1.0, "delivered": 1.0,
			"headers": map[string]any{"X-Mine": []any{"a", "b"}},
		},
	}
	withoutTime := cmpopts.IgnoreMapEntries(func(key string, _ any) bool { return key == "time" })
	if diff := cmp.Diff(want, payload(t, event), withoutTime); diff != "" {
		t.Errorf("the payload (-want +got):\n%s", diff)
	}
	q.app.publish("orders.new", `{"specversion":"1.0","id":"A","source":"/x","type":"t","data":[1]}`, nats.Header{"Content-Type": {"application/cloudevents+json"}})
	event = f.waitFor(t, 2)[1]
	wantEvent := map[string]any{"specversion": "1.0", "id": "A", "source": "/x", "type": "t"}
	if got := payload(t, event); !cmp.Equal(got["cloudevent"], any(wantEvent)) || !cmp.Equal(got["data"], any([]any{1.0})) {
		t.Errorf("a CloudEvent arrives as %v", got)
	}
	q.app.acknowledged(2)
	if n := len(f.fired()); n != 2 {
		t.Errorf("%d fires", n)
	}
}

// A change of the plan applies to existing feeds.
func TestPlanChanges(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) {
		return feed.Fired{Rules: 1, Failed: 1}, nil
	}}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"deadLetter": "none"}))
	q.app.publish("orders.new", "0", nil)
	q.app.acknowledged(1)
	if n := len(f.fired()); n != 3 {
		t.Errorf("%d fires, want the plan's 3", n)
	}
	q.limit(t, state.Limits{MessageAttempts: 1})
	sequence := uint64(1)
	eventually(t, "a message is tried once", func() bool {
		before := len(f.fired())
		sequence++
		q.app.publish("orders.new", fmt.Sprint(sequence), nil)
		q.app.acknowledged(sequence)
		return len(f.fired()) == before+1
	})
}

// A failure that the message does not cause costs no attempt: the message waits.
func TestMessageWaits(t *testing.T) {
	for _, test := range []struct {
		name    string
		fired   feed.Fired
		err     error
		message string
	}{
		{"no rule", feed.Fired{}, nil, "no rule of the trigger is active; messages wait"},
		{"throttled", feed.Fired{}, fmt.Errorf("fire: %w", feed.ErrThrottled), "the namespace has reached a limit of its plan; messages wait"},
		{"the runtime is at fault", feed.Fired{}, context.DeadlineExceeded, "the trigger cannot be fired at the moment; messages wait"},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newQueued(t)
			var mu sync.Mutex
			fine := false
			f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) {
				mu.Lock()
				defer mu.Unlock()
				if fine {
					return worked, nil
				}
				return test.fired, test.err
			}}
			r := q.start(t, f, func(o *feed.Options) { o.Pace.AckWait = time.Second })
			r.do("CREATE", messaging, "t", listening(q.credentials, nil))
			q.app.publish("orders.new", "x", nil)
			f.waitFor(t, 6) // more than the plan's attempts
			eventually(t, "READ tells", func() bool { return r.status(messaging, "t")["message"] == test.message })
			mu.Lock()
			fine = true
			mu.Unlock()
			q.app.acknowledged(1)
			for _, e := range f.fired() {
				if n := payload(t, e)["message"].(map[string]any)["delivered"]; n != 1.0 {
					t.Fatalf("delivered %v times", n)
				}
			}
			if got := r.status(messaging, "t"); got["message"] != nil {
				t.Errorf("afterwards: %v", got)
			}
		})
	}
}

// The message is not redelivered while its activation runs.
func TestMessageTakesLong(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) {
		time.Sleep(5 * time.Second)
		return worked, nil
	}}
	fast := func(o *feed.Options) { o.Pace.AckWait = time.Second }
	r := q.start(t, f, fast)
	q.start(t, f, fast)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", "x", nil)
	q.app.acknowledged(1)
	if n := len(f.fired()); n != 1 {
		t.Errorf("%d fires", n)
	}
}

// A panic of the runtime counts as an attempt.
func TestMessagePanics(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(_ context.Context, n int, _ feed.Event) (feed.Fired, error) {
		if n == 1 {
			panic("broken")
		}
		return worked, nil
	}}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", "x", nil)
	q.app.acknowledged(1)
	if n := len(f.fired()); n != 2 {
		t.Errorf("%d fires", n)
	}
}

// Two runtimes share the messages. When one shuts down, the other gets its unfinished
// messages immediately.
func TestMessagesAreShared(t *testing.T) {
	q := newQueued(t)
	var firers [2]*firer
	var runtimes [2]*runtime
	for i := range firers {
		firers[i] = &firer{do: func(ctx context.Context, _ int, _ feed.Event) (feed.Fired, error) {
			select {
			case <-time.After(20 * time.Millisecond):
				return worked, nil
			case <-ctx.Done():
				return feed.Fired{}, ctx.Err()
			}
		}}
		runtimes[i] = q.start(t, firers[i], func(o *feed.Options) { o.Pace.Grace = time.Millisecond })
	}
	runtimes[0].do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"maxInFlight": 4}))
	const messages = 400
	for i := range messages {
		q.app.publish("orders.new", fmt.Sprint(i), nil)
	}
	firers[0].waitFor(t, 40)
	firers[1].waitFor(t, 40)
	runtimes[0].stop()
	q.app.acknowledged(messages)
	seen := map[any]int{}
	for _, f := range firers {
		for _, e := range f.fired() {
			seen[payload(t, e)["data"]]++
		}
	}
	if len(seen) != messages {
		t.Errorf("%d messages arrived, want %d", len(seen), messages)
	}
	again := len(firers[0].fired()) + len(firers[1].fired()) - messages
	if again > 4 {
		t.Errorf("%d fires more than messages; at most those that were under way come again", again)
	}
}

// A message survives a runtime that is killed before it acknowledges it.
func TestMessageRuntimeKilled(t *testing.T) {
	q := newQueued(t)
	f := &firer{}
	creator := q.start(t, f, nil)
	creator.do("CREATE", messaging, "t", listening(q.credentials, nil))
	creator.stop()
	q.app.publish("orders.new", "x", nil)
	id, kill := q.hangingChild(t, childConfig{AckWait: 2 * time.Second})
	q.start(t, f, func(o *feed.Options) { o.Pace.AckWait = 2 * time.Second })
	time.Sleep(4 * time.Second)
	if n := len(f.fired()); n != 0 {
		t.Fatalf("%d fires while the first runtime is there", n)
	}
	kill()
	event := f.waitFor(t, 1)[0]
	if event.ID != id {
		t.Errorf("fired as %s, want %s", event.ID, id)
	}
	q.app.acknowledged(1)
	if n := len(f.fired()); n != 1 {
		t.Errorf("%d fires", n)
	}
}

// PAUSE stops all runtimes and keeps the position in the stream; DELETE removes the
// consumer.
func TestMessagesStop(t *testing.T) {
	q := newQueued(t)
	f := &firer{}
	runtimes := []*runtime{q.start(t, f, nil), q.start(t, f, nil)}
	runtimes[0].do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", "1", nil)
	q.app.acknowledged(1)
	runtimes[1].do("PAUSE", messaging, "t", nil)
	eventually(t, "nobody waits for messages", func() bool { return q.app.only().NumWaiting == 0 })
	q.app.publish("orders.new", "2", nil)
	time.Sleep(time.Second)
	if n := len(f.fired()); n != 1 {
		t.Fatalf("%d fires after PAUSE", n)
	}
	runtimes[0].do("UNPAUSE", messaging, "t", nil)
	q.app.acknowledged(2)
	runtimes[1].do("DELETE", messaging, "t", nil)
	eventually(t, "no consumer", func() bool { return len(q.app.consumers("ORDERS")) == 0 && q.count(t, "feeds") == 0 })
	q.app.publish("orders.new", "3", nil)
	time.Sleep(time.Second)
	if names := q.app.consumers("ORDERS"); len(f.fired()) != 2 || len(names) > 0 {
		t.Errorf("%d fires, consumers %v after DELETE", len(f.fired()), names)
	}
}

// Consumers are deleted with their trigger and their namespace.
func TestMessagesOwnerGoes(t *testing.T) {
	q := newQueued(t)
	r := q.start(t, &firer{}, nil)
	for _, test := range []struct {
		name string
		goes func() error
	}{
		{"trigger", func() error {
			return q.store.DeleteTrigger(t.Context(), q.store.Pool, state.DeleteTriggerParams{Namespace: space, Name: "t"})
		}},
		{"namespace", func() error { return q.forget(t.Context()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			q.limit(t, state.Limits{MessageAttempts: 3})
			q.trigger(t, "t")
			r.do("CREATE", messaging, "t", listening(q.credentials, nil))
			q.app.only()
			if err := test.goes(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "no consumer", func() bool { return len(q.app.consumers("ORDERS")) == 0 && q.count(t, "feeds") == 0 })
		})
	}
}

// A feed uses the application's consumer, and neither changes nor deletes it.
func TestOwnConsumer(t *testing.T) {
	q := newQueued(t)
	config := jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "orders.mine"}
	if _, err := q.app.js.CreateConsumer(soon(t), "ORDERS", config); err != nil {
		t.Fatal(err)
	}
	f := &firer{}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"durable": "mine"}))
	q.app.publish("orders.other", "1", nil)
	q.app.publish("orders.mine", "2", nil)
	if got := payload(t, f.waitFor(t, 1)[0]); got["data"] != 2.0 {
		t.Errorf("fired for %v", got)
	}
	r.do("DELETE", messaging, "t", nil)
	eventually(t, "no feed", func() bool { return q.count(t, "feeds") == 0 })
	if got := q.app.consumers("ORDERS"); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("consumers %v", got)
	}
	eventually(t, "nobody waits for messages", func() bool { return q.app.only().NumWaiting == 0 })
	q.app.publish("orders.mine", "3", nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"durable": "made", "deliver": "new"}))
	q.app.publish("orders.other", "4", nil)
	if got := payload(t, f.waitFor(t, 2)[1]); got["data"] != 4.0 {
		t.Errorf("fired for %v", got)
	}
	r.do("DELETE", messaging, "t", nil)
	eventually(t, "ours is gone", func() bool { return slices.Equal(q.app.consumers("ORDERS"), []string{"mine"}) })
}

type locked struct {
	mu *sync.Mutex
	to *strings.Builder
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}
