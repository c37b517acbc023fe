package feed_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// A message whose actions fail is redelivered. After the plan's limit, it becomes a dead
// letter in a stream that the runtime creates.
func TestDeadLetter(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(_ context.Context, _ int, e feed.Event) (feed.Fired, error) {
		if strings.Contains(string(e.Payload), "bad") {
			return feed.Fired{Activation: "abc", Rules: 2, Failed: 1}, nil
		}
		return worked, nil
	}}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", `"good"`, nil)
	q.app.acknowledged(1)
	if _, err := q.app.js.Stream(soon(t), "CHANDLER_DEAD"); err == nil {
		t.Error("there is a stream of dead letters without one")
	}
	q.app.publish("orders.new", `"bad"`, nats.Header{"X-Mine": {"a"}, "Nats-Msg-Id": {"own"}})
	q.app.acknowledged(2)
	events := f.fired()
	var delivered []any
	for _, e := range events[1:] {
		delivered = append(delivered, payload(t, e)["message"].(map[string]any)["delivered"])
		if e.ID != events[1].ID || e.ID == events[0].ID {
			t.Errorf("identities %v", events)
		}
	}
	if diff := cmp.Diff([]any{1.0, 2.0, 3.0}, delivered); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	dead, err := q.app.js.Stream(soon(t), "CHANDLER_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	letter, err := dead.GetLastMsgForSubject(soon(t), "chandler.dead.ORDERS.t")
	if err != nil {
		t.Fatal(err)
	}
	want := nats.Header{
		"X-Mine": {"a"}, "Chandler-Dead-Reason": {"1 of 2 actions failed"}, "Chandler-Dead-Trigger": {"/" + space + "/t"},
		"Chandler-Dead-Activation": {"abc"}, "Chandler-Dead-Stream": {"ORDERS"}, "Chandler-Dead-Subject": {"orders.new"},
		"Chandler-Dead-Sequence": {"2"}, "Chandler-Dead-Attempts": {"3"},
	}
	letter.Header.Del("Nats-Msg-Id")
	if diff := cmp.Diff(want, letter.Header); diff != "" || string(letter.Data) != `"bad"` {
		t.Errorf("the dead letter %q (-want +got):\n%s", letter.Data, diff)
	}
	info, err := dead.Info(soon(t))
	if err != nil || info.State.Msgs != 1 || info.Config.MaxMsgsPerSubject != 100 || info.Config.MaxBytes > 0 {
		t.Errorf("the stream of dead letters: %+v, %v", info, err)
	}
}

// The feed's parameters say where dead letters go.
func TestDeadLetterElsewhere(t *testing.T) {
	for _, test := range []struct {
		name       string
		parameters map[string]any
		stream     func(*jetstream.StreamConfig)
		dead       uint64 // messages on dead.letters and chandler.dead.> in ORDERS
		fires      int
	}{
		{"none", map[string]any{"deadLetter": "none"}, nil, 0, 3},
		{"a subject of the stream itself", map[string]any{"deadLetter": "orders.dead"}, nil, 1, 3},
		{"a stream that has every subject of ours", nil, func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "chandler.>") }, 1, 3},
		{"after fewer attempts", map[string]any{"maxAttempts": 1, "deadLetter": "orders.dead"}, nil, 1, 1},
		{"more attempts than the plan has", map[string]any{"maxAttempts": 9, "deadLetter": "none"}, nil, 0, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, s := newHouse(t), newServers(t, 1)
			h.trigger(t, "t")
			app := connect(t, s.bind(t, "app", `{}`))
			app.stream(test.stream)
			f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) {
				return feed.Fired{Rules: 1, Failed: 1}, nil
			}}
			r := h.start(t, f, nil)
			r.do("CREATE", messaging, "t", listening(s.bind(t, "trigger", `{}`), test.parameters))
			app.publish("orders.new", "x", nil)
			app.acknowledged(1 + test.dead) // our own dead letters are not worked on
			if n := len(f.fired()); n != test.fires {
				t.Errorf("%d fires, want %d", n, test.fires)
			}
			if _, err := app.js.Stream(soon(t), "CHANDLER_DEAD"); err == nil {
				t.Error("there is a stream of ours")
			}
		})
	}
}

// A dead letter that cannot be stored is not lost: its message stays.
func TestDeadLetterCannotBeStored(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) {
		return feed.Fired{Rules: 1, Failed: 1}, nil
	}}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"deadLetter": "nobody.listens", "maxAttempts": 1}))
	q.app.publish("orders.new", "x", nil)
	eventually(t, "READ tells", func() bool {
		message, _ := r.status(messaging, "t")["message"].(string)
		return strings.HasPrefix(message, "a dead letter cannot be stored and stays in the stream: no server answers")
	})
	if info := q.app.only(); info.AckFloor.Stream != 0 || len(f.fired()) != 1 {
		t.Errorf("%d fires; %+v", len(f.fired()), info)
	}
	if _, err := q.app.js.CreateStream(soon(t), jetstream.StreamConfig{Name: "LETTERS", Subjects: []string{"nobody.listens"}}); err != nil {
		t.Fatal(err)
	}
	q.app.acknowledged(1)
	if n := len(f.fired()); n != 1 {
		t.Errorf("%d fires", n)
	}
}

// An attempt counts even if the runtime is killed during it, so a message that kills
// runtimes becomes a dead letter, and the messages behind it continue.
func TestDeadLetterAfterACrash(t *testing.T) {
	q := newQueued(t)
	q.limit(t, state.Limits{MessageAttempts: 1, DeadLetters: 100})
	f := &firer{}
	creator := q.start(t, f, nil)
	creator.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"maxInFlight": 1}))
	creator.stop()
	// A message for which it asked last would go to nobody, and its only attempt be over.
	eventually(t, "the server has forgotten its requests", func() bool { return q.app.only().NumWaiting == 0 })
	q.app.publish("orders.new", "kills", nil)
	_, kill := q.hangingChild(t, childConfig{AckWait: 2 * time.Second})
	kill()
	q.app.publish("orders.new", "behind", nil)
	q.start(t, f, func(o *feed.Options) { o.Pace.AckWait = 2 * time.Second })
	q.app.acknowledged(2)
	events := f.fired()
	if len(events) != 1 || payload(t, events[0])["data"] != "behind" {
		t.Errorf("fired: %v", events)
	}
	dead, err := q.app.js.Stream(soon(t), "CHANDLER_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	letter, err := dead.GetLastMsgForSubject(soon(t), "chandler.dead.ORDERS.t")
	if err != nil {
		t.Fatal(err)
	}
	if string(letter.Data) != "kills" || letter.Header.Get("Chandler-Dead-Reason") != "it was delivered 2 times" {
		t.Errorf("the dead letter %q: %v", letter.Data, letter.Header)
	}
}
