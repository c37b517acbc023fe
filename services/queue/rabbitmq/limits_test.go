package rabbitmq

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func limitsThatHold(server *testServer) []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []servicetest.Limit{
		{Name: "connections", Plan: raw(`{"connections": 3}`), Holds: server.holdsConnections},
		{Name: "connections per binding", Plan: raw(`{"connections": 9, "connections_per_binding": 2}`), Holds: server.holdsPerBinding},
		{Name: "channels", Plan: raw(`{"channels_per_binding": 5}`), Holds: holdsChannels},
		{Name: "queues", Plan: raw(`{"queues": 3}`), Holds: holdsQueues},
		{Name: "messages", Plan: raw(`{"queue_messages": 10}`), Holds: holdsMessages},
		{Name: "size", Plan: raw(`{"queue_size": "64kB", "queue_messages": 100}`), Holds: holdsSize},
		{Name: "size of a quorum queue", Plan: raw(`{"queue_size": "64kB", "queue_messages": 100, "default_queue_type": "quorum"}`), Holds: holdsSize},
		{Name: "headers", Plan: raw(`{"queue_size": "256kB"}`), Holds: holdsHeaders},
		{Name: "headers in a quorum queue", Plan: raw(`{"queue_size": "256kB", "default_queue_type": "quorum"}`), Holds: holdsHeaders},
		{Name: "size of a stream", Plan: raw(`{"queue_size": "2MB", "queue_messages": 1000}`), Holds: server.holdsStream},
		{Name: "unacknowledged messages", Plan: raw(`{"queues": 1, "queue_size": "64kB"}`), Holds: holdsUnacknowledged},
		{Name: "uncommitted messages", Plan: raw(`{"queues": 1, "queue_size": "64kB"}`), Holds: holdsUncommitted},
		{Name: "drop the oldest", Plan: raw(`{"queue_messages": 10, "overflow": "drop-head"}`), Holds: dropsTheOldest},
	}
}

// sessions opens n sessions, one after the other, and returns how many were let
// in. The server counts a connection a moment after it let it in.
func (s *testServer) sessions(t *testing.T, n int, credentials ...map[string]any) int {
	t.Helper()
	in, before := 0, s.connections(t, credentials[0]["vhost"])
	for i := range n {
		session, err := dial(testContext(t), credentials[i%len(credentials)])
		if err != nil {
			expect(t, err, amqp.ErrVhost.Reason) // what amqp091-go makes of every refusal to open one
			continue
		}
		defer session.Close()
		in++
		eventually(t, "the server counts the connection", func() bool {
			return s.connections(t, credentials[0]["vhost"]) == before+in
		})
	}
	return in
}

// connections is how many connections to a virtual host the server counts.
func (s *testServer) connections(t *testing.T, vhost any) int {
	t.Helper()
	var all []map[string]any
	if err := s.ask(testContext(t), "/api/connections?disable_stats=true", &all); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, connection := range all {
		if connection["vhost"] == vhost {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never seen: ", what)
		}
	}
}

func (s *testServer) holdsConnections(t *testing.T, use servicetest.Use) {
	one, two := use.Bind(t, nil), use.Bind(t, nil)
	if in := s.sessions(t, 6, one, two); in != 3 {
		t.Errorf("%d connections were let in", in)
	}
}

func (s *testServer) holdsPerBinding(t *testing.T, use servicetest.Use) {
	one, two := use.Bind(t, nil), use.Bind(t, nil)
	if in := s.sessions(t, 4, one); in != 2 {
		t.Errorf("%d connections of one binding were let in", in)
	}
	// Those are being closed, which the server hears of a moment later.
	eventually(t, "the connections are gone", func() bool { return s.connections(t, one["vhost"]) == 0 })
	if in := s.sessions(t, 8, one, two); in != 4 {
		t.Errorf("%d connections of two bindings were let in", in)
	}
}

// The server counts a channel a moment after it let it in, and tells nobody: so
// one too many may be let in, and is closed again.
func holdsChannels(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	for range 5 {
		if _, err := s.conn.Channel(); err != nil {
			t.Fatal(err)
		}
	}
	var refusal error
	eventually(t, "a sixth channel is refused", func() bool {
		var sixth *amqp.Channel
		if sixth, refusal = s.conn.Channel(); refusal == nil {
			_ = sixth.Close() // refused as well where the limit was seen now
		}
		return refusal != nil
	})
	expect(t, refusal, "limit")
}

func holdsQueues(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	for i := range 3 {
		must(t, s, declares(fmt.Sprint("q", i), nil))
	}
	expect(t, s.channel(testContext(t), declares("one too many", nil)), "limit")
	expect(t, s.channel(testContext(t), declares("", nil)), "limit")
	must(t, s, func(ch *amqp.Channel) error { _, err := ch.QueueDelete("q0", false, false, false); return err })
	must(t, s, declares("another", nil))
}

func holdsMessages(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	for _, arguments := range []amqp.Table{nil, {amqp.QueueMaxLenArg: 1000}, {amqp.QueueMaxLenArg: -1}} {
		name := fmt.Sprint("q", arguments)
		if err := s.channel(testContext(t), declares(name, arguments)); err != nil {
			continue // a negative length is no argument
		}
		if taken := fill(t, s, name, "m"); taken < 10 || taken > 11 {
			t.Errorf("%v: %d messages were taken", arguments, taken)
		}
	}
}

func holdsSize(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	must(t, s, declares("q", nil))
	if taken := fill(t, s, "q", strings.Repeat("m", 8<<10)); taken < 8 || taken > 9 {
		t.Errorf("%d messages of 8 kB were taken", taken)
	}
	must(t, s, func(ch *amqp.Channel) error { _, err := ch.QueuePurge("q", false); return err })
	must(t, s, func(ch *amqp.Channel) error { return publish(testContext(t), ch, "q", "room again") })
}

// What the headers of messages take is bounded by the size of a queue too, though
// the server counts bodies only: no header is larger than a frame.
func holdsHeaders(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	must(t, s, declares("q", nil))
	header := amqp.Table{"h": strings.Repeat("h", embedded.RabbitMQFrameMax-1000)}
	taken := 0
	must(t, s, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		for range 40 {
			confirmation, err := ch.PublishWithDeferredConfirmWithContext(testContext(t), "", "q", true, false, amqp.Publishing{Headers: header})
			if err != nil {
				return err
			}
			if ok, err := confirmation.WaitContext(testContext(t)); err == nil && ok {
				taken++
			}
		}
		return nil
	})
	if taken < 16 || taken > 17 {
		t.Errorf("%d messages with headers of 15 kB were taken into 256 kB", taken)
	}
	larger := amqp.Table{"h": strings.Repeat("h", embedded.RabbitMQFrameMax)}
	err := s.channel(testContext(t), func(ch *amqp.Channel) error {
		if err := ch.PublishWithContext(testContext(t), "", "q", false, false, amqp.Publishing{Headers: larger}); err != nil {
			return err
		}
		_, err := ch.QueueDeclarePassive("q", true, false, false, false, nil)
		return err
	})
	if err == nil {
		t.Error("a header larger than a frame was taken")
	}
}

// A stream keeps its size and one file of it, whatever the application declares.
func (s *testServer) holdsStream(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	session := dialled(t, credentials)
	must(t, session, declares("s", amqp.Table{"x-queue-type": "stream", "x-max-length-bytes": 1 << 40, "x-stream-max-segment-size-bytes": 1 << 30}))
	must(t, session, func(ch *amqp.Channel) error {
		for range 40 {
			if err := publish(testContext(t), ch, "s", strings.Repeat("m", 256<<10)); err != nil {
				return err
			}
		}
		return nil
	})
	messages := -1
	eventually(t, "the stream keeps 3 MB of the 10 MB", func() bool {
		var stream map[string]any
		if err := s.ask(testContext(t), "/api/queues/"+credentials["vhost"].(string)+"/s", &stream); err != nil {
			t.Fatal(err)
		}
		n, ok := stream["messages"].(float64)
		messages = int(n)
		return ok && messages > 0 && messages <= 13
	})
}

// What is delivered and never acknowledged is a condition, and ends the connection
// where it is more than the queues may hold.
func holdsUnacknowledged(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	publisher, hoarder := dialled(t, credentials), dialled(t, credentials)
	must(t, publisher, declares("q", nil))
	ch, err := hoarder.conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("q", "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	published := 0
	must(t, publisher, func(ch *amqp.Channel) error {
		for range 24 {
			if publish(testContext(t), ch, "q", strings.Repeat("m", 8<<10)) == nil {
				published++
			}
		}
		return nil
	})
	if published < 16 {
		t.Fatalf("%d messages were taken", published)
	}
	var note string
	eventually(t, "the connection is closed", func() bool {
		if now := use.Reconcile(t); now != "" {
			note = now
		}
		return hoarder.conn.IsClosed()
	})
	if !strings.Contains(note, "of 64 kB, of which") {
		t.Errorf("note: %q", note)
	}
	if publisher.conn.IsClosed() {
		t.Error("the publisher's connection was closed too")
	}
}

// So is what is published in a transaction that goes on.
func holdsUncommitted(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	must(t, s, declares("q", nil))
	ch, err := s.conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := ch.PublishWithContext(testContext(t), "", "q", false, false, amqp.Publishing{Body: []byte("m")}); err != nil {
			t.Fatal(err)
		}
	}
	var note string
	eventually(t, "the connection is closed", func() bool {
		if now := use.Reconcile(t); now != "" {
			note = now
		}
		return s.conn.IsClosed()
	})
	if !strings.Contains(note, "commit sooner") {
		t.Errorf("note: %q", note)
	}
}

func dropsTheOldest(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	must(t, s, declares("q", nil))
	must(t, s, func(ch *amqp.Channel) error {
		for i := range 30 {
			if err := publish(testContext(t), ch, "q", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		oldest, _, err := ch.Get("q", true)
		if got := string(oldest.Body); got != "20" {
			t.Errorf("the oldest message is %s", got)
		}
		return err
	})
}

// fill publishes until the server takes no more, 30 messages at most, and
// returns how many it took.
func fill(t *testing.T, s *client, queue, message string) int {
	t.Helper()
	taken := 0
	must(t, s, func(ch *amqp.Channel) error {
		for range 30 {
			if publish(testContext(t), ch, queue, message) == nil {
				taken++
			}
		}
		return nil
	})
	return taken
}

func declares(name string, arguments amqp.Table) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, arguments)
		return err
	}
}

func must(t *testing.T, s *client, work func(*amqp.Channel) error) {
	t.Helper()
	if err := s.channel(testContext(t), work); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}
