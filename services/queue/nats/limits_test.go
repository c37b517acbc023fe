package nats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func make129() []byte { return bytes.Repeat([]byte("a"), 129) }

func manySubjects(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"s%d"`, i))
	}
	return strings.Join(list, ", ")
}

func limitsThatHold() []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	return []servicetest.Limit{
		{Name: "connections", Plan: raw(`{"storage": "8MB", "connections": 3}`), Holds: holdsConnections},
		{Name: "subscriptions", Plan: raw(`{"storage": "8MB", "subscriptions": 4}`), Holds: holdsSubscriptions},
		{Name: "payload", Plan: raw(`{"storage": "8MB", "payload": "2kB"}`), Holds: holdsPayload},
		{Name: "storage", Plan: raw(`{"storage": "1MB"}`), Holds: holdsStorage},
		{Name: "memory", Plan: raw(`{"storage": "8MB", "memory": "1MB"}`), Holds: holdsMemory},
		{Name: "no memory", Plan: raw(`{"storage": "8MB"}`), Holds: holdsNoMemory},
		{Name: "streams", Plan: raw(`{"storage": "8MB", "streams": 2}`), Holds: holdsStreams},
		{Name: "consumers", Plan: raw(`{"storage": "8MB", "consumers": 2}`), Holds: holdsConsumers},
	}
}

func holdsConnections(t *testing.T, use servicetest.Use) {
	credentials := []map[string]any{use.Bind(t, nil), use.Bind(t, nil)}
	in := 0
	for i := range 8 {
		s, err := dial(testContext(t), credentials[i%2])
		if err != nil {
			continue
		}
		defer s.Close()
		if s.Ping(testContext(t)) == nil {
			in++
			time.Sleep(100 * time.Millisecond) // the other servers of a cluster hear of it a moment later
		}
	}
	if in != 3 {
		t.Errorf("%d connections were let in", in)
	}
}

func holdsSubscriptions(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	for range 5 {
		if _, err := s.conn.SubscribeSync("x"); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.conn.Flush() // the server may cut it
	select {
	case r := <-s.refusals:
		if !errors.Is(r, nats.ErrMaxSubscriptionsExceeded) {
			t.Errorf("the fifth subscription: %v", r)
		}
	case <-time.After(time.Minute):
		t.Error("a fifth subscription was let in")
	}
}

// The client refuses what is too large itself once it was told of the limit;
// the server does so anyway.
func holdsPayload(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	told := dialled(t, credentials)
	if err := told.conn.Publish("x", make([]byte, 2048)); err != nil {
		t.Errorf("2kB: %v", err)
	}
	if err := told.Ping(testContext(t)); err != nil {
		t.Errorf("after 2kB: %v", err)
	}
	if err := told.conn.Publish("x", make([]byte, 2049)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("more than 2kB: %v", err)
	}
	in, err := told.conn.SubscribeSync("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := told.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	hasty := dialled(t, credentials)
	_ = hasty.conn.Publish("x", make([]byte, 2049)) // fails where it was told already
	_ = hasty.Ping(testContext(t))                  // fails where it was cut
	if m, err := in.NextMsg(200 * time.Millisecond); err == nil {
		t.Errorf("%d bytes were delivered", len(m.Data))
	}
}

func fillConfig() jetstream.StreamConfig { return jetstream.StreamConfig{MaxMsgs: 100} }

// fillStream publishes until a message is refused and returns why and how many
// bytes were taken.
func (c *client) fillStream(t *testing.T, config jetstream.StreamConfig) (taken int, refusal error) {
	t.Helper()
	ctx := testContext(t)
	config.Name, config.Subjects = "FILL", []string{"fill.>"}
	if _, err := c.stream.CreateStream(ctx, config); err != nil {
		t.Fatalf("make a stream: %v", err)
	}
	const piece = 32 << 10
	for range 1000 {
		if _, err := c.stream.Publish(ctx, "fill.x", make([]byte, piece)); err != nil {
			return taken, err
		}
		taken += piece
	}
	return taken, nil
}

func holdsStorage(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	taken, err := s.fillStream(t, jetstream.StreamConfig{})
	if err == nil || taken > 1<<20 || taken < 3<<18 {
		t.Errorf("%d bytes were taken, then %v", taken, err)
	}
	stream, err := s.stream.Stream(testContext(t), "FILL")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.stream.Publish(testContext(t), "fill.x", []byte("room again")); err != nil {
		t.Errorf("after the stream was purged: %v", err)
	}
	_, err = s.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: "BIG", MaxBytes: 2 << 20})
	expect(t, err, "insufficient storage")
}

func holdsMemory(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	if taken, err := s.fillStream(t, jetstream.StreamConfig{Storage: jetstream.MemoryStorage}); err == nil || taken > 1<<20 || taken < 3<<18 {
		t.Errorf("%d bytes were taken, then %v", taken, err)
	}
}

func holdsNoMemory(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	_, err := s.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage})
	if err == nil {
		_, err = s.stream.Publish(testContext(t), "m", []byte("x"))
	}
	if err == nil {
		t.Error("a stream in memory took a message")
	}
}

func holdsStreams(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	for i := range 3 {
		_, err := s.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: fmt.Sprintf("S%d", i), Subjects: []string{fmt.Sprintf("s%d", i)}})
		if i < 2 && err != nil {
			t.Errorf("stream %d: %v", i, err)
		}
		if i == 2 {
			expect(t, err, "maximum number of streams reached")
		}
	}
}

func holdsConsumers(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	stream, err := s.stream.CreateStream(testContext(t), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_, err := stream.CreateConsumer(testContext(t), jetstream.ConsumerConfig{Durable: fmt.Sprintf("c%d", i)})
		if i < 2 && err != nil {
			t.Errorf("consumer %d: %v", i, err)
		}
		if i == 2 {
			expect(t, err, "maximum consumers limit reached")
		}
	}
}

func expect(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}
