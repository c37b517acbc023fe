package feed_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/functions/feed"
)

var answered = feed.Fired{Activation: "a", Rules: 2, Results: []json.RawMessage{[]byte(`{"n":1}`), []byte(`{"n":2}`)}}

// results makes stream RESULTS of the subject that answers go to.
func (q *queued) results(t *testing.T) jetstream.Stream {
	t.Helper()
	s, err := q.app.js.CreateStream(soon(t), jetstream.StreamConfig{Name: "RESULTS", Subjects: []string{"results.orders"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (q *queued) message(t *testing.T, s jetstream.Stream, sequence uint64) *jetstream.RawStreamMsg {
	t.Helper()
	m, err := s.GetMsg(soon(t), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The actions' results are published only after all of them have succeeded.
func TestReply(t *testing.T) {
	q := newQueued(t)
	results := q.results(t)
	f := &firer{do: func(_ context.Context, n int, _ feed.Event) (feed.Fired, error) {
		if n == 1 {
			return feed.Fired{Rules: 2, Failed: 1, Results: answered.Results[:1]}, nil
		}
		return answered, nil
	}}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"reply": "results.orders"}))
	q.app.publish("orders.new", `{"id": 7}`, nil)
	q.app.acknowledged(1)
	if info, err := results.Info(soon(t)); err != nil || info.State.Msgs != 2 {
		t.Fatalf("%d answers, %v", info.State.Msgs, err)
	}
	event := f.fired()[1]
	for n, want := range answered.Results {
		m := q.message(t, results, uint64(n)+1)
		if string(m.Data) != string(want) {
			t.Errorf("answer %d is %s", n, m.Data)
		}
		id := event.ID + "-" + string(rune('0'+n))
		headers := nats.Header{
			"Content-Type": {"application/json"}, "ce-specversion": {"1.0"}, "ce-id": {id},
			"ce-source": {"/namespaces/" + space + "/triggers/t"}, "ce-type": {"io.github.chandler-broker.result"},
			"Chandler-Result-Trigger": {"/" + space + "/t"}, "Chandler-Result-Event": {event.ID}, "Nats-Msg-Id": {"chandler-" + id},
		}
		if diff := cmp.Diff(headers, m.Header, cmpopts.IgnoreMapEntries(func(key string, _ []string) bool { return key == "ce-time" })); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	}
	// The same message, for a feed that is to publish nothing.
	r.do("DELETE", messaging, "t", nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"reply": "none"}))
	f.waitFor(t, 3)
	q.app.acknowledged(1)
	if info, err := results.Info(soon(t)); err != nil || info.State.Msgs != 2 {
		t.Errorf("without a subject there are %d answers, %v", info.State.Msgs, err)
	}
}

// A message waits until its result is stored. Its actions are not called again for that.
func TestReplyWaits(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) { return answered, nil }}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"reply": "results.orders"}))
	q.app.publish("orders.new", `{"id": 7}`, nil)
	eventually(t, "the owner is told", func() bool {
		raw, err := json.Marshal(r.do("READ", messaging, "t", nil))
		return err == nil && strings.Contains(string(raw), "a result cannot be published")
	})
	if info := q.app.only(); info.NumAckPending != 1 {
		t.Errorf("%d messages are under way", info.NumAckPending)
	}
	results := q.results(t)
	q.app.acknowledged(1)
	if info, err := results.Info(soon(t)); err != nil || info.State.Msgs != 2 {
		t.Errorf("%d answers, %v", info.State.Msgs, err)
	}
	if n := len(f.fired()); n != 1 {
		t.Errorf("%d fires", n)
	}
}

// A result that the trigger's own stream stores does not fire the trigger.
func TestReplyInACircle(t *testing.T) {
	q := newQueued(t)
	f := &firer{do: func(context.Context, int, feed.Event) (feed.Fired, error) { return answered, nil }}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, map[string]any{"reply": "orders.done"}))
	q.app.publish("orders.new", `{"id": 7}`, nil)
	q.app.acknowledged(3) // the message and both answers
	if n := len(f.fired()); n != 1 {
		t.Errorf("%d fires", n)
	}
}

func TestReplySubject(t *testing.T) {
	q := newQueued(t)
	r := q.start(t, &firer{}, nil)
	for _, subject := range []string{"orders.*", "orders.>", "$JS.API.STREAM.DELETE.ORDERS", "a b", "a..b"} {
		_, err := r.ask(messaging, with("CREATE", "t", listening(q.credentials, map[string]any{"reply": subject})))
		if text := refusal(t, err); !strings.Contains(text, "reply") {
			t.Errorf("%q is refused with %q", subject, text)
		}
	}
}
