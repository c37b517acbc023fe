package rabbitmq

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

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
		{Name: "size", Plan: raw(`{"queue_size": "64kB"}`), Holds: holdsSize},
		{Name: "size of a quorum queue", Plan: raw(`{"queue_size": "64kB", "default_queue_type": "quorum"}`), Holds: holdsSize},
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
