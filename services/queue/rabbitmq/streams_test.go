package rabbitmq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// oddMessages have everything that a message can have. One asks for copies in other queues.
func oddMessages() []amqp.Publishing {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []amqp.Publishing{
		{Body: []byte("first")},
		{},
		{Body: []byte{0, 0xff, '\n'}, ContentType: "application/json", ContentEncoding: "gzip", DeliveryMode: 2, Priority: 7, CorrelationId: "c", ReplyTo: "r",
			Expiration: "3600000", MessageId: "m-1", Timestamp: at, Type: "order", AppId: "shop"},
		{Body: []byte("headers"), Headers: amqp.Table{
			"text": "é", "number": int32(5), "long": int64(math.MaxInt64), "yes": true, "when": at, "float": 1.5,
			"list": []any{"a", int32(1)}, "table": amqp.Table{"deep": "er"}, "": "empty key",
		}},
		{Body: []byte("copies"), Headers: amqp.Table{"CC": []any{"classic", "by default"}}},
		{Body: bytes.Repeat([]byte("x"), 100_000)},
	}
}

func publishOddly(t *testing.T, c *client, stream string) {
	t.Helper()
	for _, m := range oddMessages() {
		publishTo(t, c, stream, m)
	}
}

func publishTo(t *testing.T, c *client, queue string, messages ...amqp.Publishing) {
	t.Helper()
	ctx := testContext(t)
	err := c.channel(ctx, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		var last *amqp.DeferredConfirmation
		for _, m := range messages {
			var err error
			if last, err = ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, m); err != nil {
				return err
			}
		}
		_, err := last.WaitContext(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readStream reads n messages of a stream as an application does, without what a copy lacks.
func readStream(t *testing.T, credentials map[string]any, stream string, n int) (messages []string) {
	t.Helper()
	c := dialled(t, credentials)
	defer func() { _ = c.Close() }() // connections are limited
	err := c.channel(testContext(t), func(ch *amqp.Channel) error {
		if err := ch.Qos(prefetched, 0, false); err != nil {
			return err
		}
		deliveries, err := consume(ch, stream, "first")
		if err != nil {
			return err
		}
		for {
			wait := 20 * time.Second
			if len(messages) >= n {
				wait = 300 * time.Millisecond // for what should not be there
			}
			select {
			case d := <-deliveries:
				delete(d.Headers, offsetHeader)
				messages = append(messages, fmt.Sprintf("%q %v %s %s %d %d %s %s %s %s %d %s %s %x", d.RoutingKey, d.Headers, d.ContentType, d.ContentEncoding, d.DeliveryMode,
					d.Priority, d.CorrelationId, d.ReplyTo, d.Expiration, d.MessageId, d.Timestamp.Unix(), d.Type, d.AppId, d.Body))
				if err := d.Ack(false); err != nil {
					return err
				}
			case <-time.After(wait):
				return nil
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func backedUp(t *testing.T, b *backend, inst instance) (string, services.Contents) {
	t.Helper()
	var stream bytes.Buffer
	contents, err := b.Backup(testContext(t), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &stream})
	if err != nil {
		t.Fatal(err)
	}
	return stream.String(), contents
}

func restoredFrom(t *testing.T, b *backend, inst instance, contents services.Contents, r io.Reader) error {
	t.Helper()
	_, err := b.Restore(testContext(t), services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: r})
	return err
}

func declareStream(t *testing.T, c *client, names ...string) {
	t.Helper()
	err := c.channel(testContext(t), func(ch *amqp.Channel) error {
		for _, name := range names {
			if _, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: streamType}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Messages come back to their own streams, whatever their headers ask for. A stream above its limit
// loses its oldest ones, and an empty one stays empty.
func TestCopiesOfStreams(t *testing.T) {
	s := newServer(t)
	b := s.backend(t, "streams")
	limited := func(i *instance) { i.Plan.QueueSize = services.Megabyte }
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.QueueSize = 4 * services.Megabyte })
	credentials := bound(t, b, inst, "b", `{}`)
	c := dialled(t, credentials)
	declareStream(t, c, "one", "two", "empty", restoreExchange)
	publishTo(t, c, "one", amqp.Publishing{Body: []byte("for both"), Headers: amqp.Table{"CC": []any{"two", "empty"}}})
	publishTo(t, c, "two", amqp.Publishing{Body: []byte("alone")})
	c = dialled(t, credentials)
	large := make([]amqp.Publishing, 15)
	for i := range large {
		large[i] = amqp.Publishing{MessageId: fmt.Sprint(i), Body: bytes.Repeat([]byte("x"), 100_000)}
	}
	publishTo(t, c, restoreExchange, large...)

	limited(&inst) // the server does not know, and keeps all messages
	stream, contents := backedUp(t, b, inst)
	if text := strings.Join(contents.Omitted, "\n"); !strings.Contains(text, "The oldest 5 messages of streams") {
		t.Errorf("omitted: %s", text)
	}
	target := provisioned(t, b, "target", limited)
	if err := restoredFrom(t, b, target, contents, strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	_, again := backedUp(t, b, target)
	if again.Digest != contents.Digest || !cmp.Equal(again.Counts, contents.Counts) {
		t.Errorf("a copy of the copy has %v, want %v", again.Counts, contents.Counts)
	}
	theirs := bound(t, b, target, "b", `{}`)
	for name, n := range map[string]int{"one": 1, "two": 2, "empty": 1} {
		if got := readStream(t, theirs, name, n); len(got) != n || !cmp.Equal(got, readStream(t, credentials, name, n)) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if left, err := s.leftOf(testContext(t), b.names.copyUser(inst.Name), []string{b.names.copyUser(target.Name)}); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}

	small := provisioned(t, b, "small", func(i *instance) { i.Plan.QueueSize = 500 * services.Kilobyte })
	if _, rejected := services.IsRejected(restoredFrom(t, b, small, contents, strings.NewReader(stream))); !rejected {
		t.Error("a plan that is too small was accepted")
	}
}

// What is no message of a stream is refused.
func TestDamagedMessages(t *testing.T) {
	s := newServer(t)
	b := s.backend(t, "damaged")
	inst := provisioned(t, b, "i", nil)
	c := dialled(t, bound(t, b, inst, "b", `{}`))
	declareStream(t, c, "one")
	publishTo(t, c, "one", amqp.Publishing{Body: []byte("one")}, amqp.Publishing{Body: []byte("two")})
	stream, contents := backedUp(t, b, inst)
	lines := strings.SplitAfter(strings.TrimSuffix(stream, "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	for name, text := range map[string]string{
		"a message less":      lines[0] + lines[1],
		"a message more":      stream + lines[2],
		"another order":       lines[0] + lines[2] + "\n" + lines[1],
		"another message":     lines[0] + lines[1] + lines[1],
		"of another queue":    lines[0] + strings.Replace(lines[1], `"queue":0`, `"queue":7`, 1) + lines[2],
		"of a negative queue": lines[0] + strings.Replace(lines[1], `"queue":0`, `"queue":-1`, 1) + lines[2],
		"no headers":          lines[0] + `{"queue":0,"message":{}}` + lines[2],
		"noise":               lines[0] + lines[1] + "noise",
	} {
		target := provisioned(t, b, name, nil)
		if err := restoredFrom(t, b, target, contents, strings.NewReader(text)); err == nil {
			t.Errorf("%s was restored", name)
		}
	}
}

// A user that a crash left goes with the next copy, or with the instance. It is no binding.
func TestUserOfACrash(t *testing.T) {
	s := newServer(t)
	b := s.backend(t, "crash")
	for name, next := range map[string]func(inst instance) error{
		"copy": func(inst instance) error {
			_, err := b.Backup(testContext(t), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: io.Discard})
			return err
		},
		"deprovision": func(inst instance) error { return servicetest.Patient(b).Deprovision(testContext(t), inst) },
	} {
		t.Run(name, func(t *testing.T) {
			inst := provisioned(t, b, name, nil)
			declareStream(t, dialled(t, bound(t, b, inst, "b", `{}`)), "one")
			user := b.names.copyUser(inst.Name)
			if err := makeUser(b.api.client(testContext(t)), user, "AAAA"); err != nil {
				t.Fatal(err)
			}
			found, err := b.List(testContext(t))
			for _, r := range found {
				if r.Name == user {
					t.Errorf("listed: %+v", r)
				}
			}
			if err := next(inst); err != nil {
				t.Fatal(err)
			}
			if left, leftErr := s.leftOf(testContext(t), user, nil); len(left) > 0 || err != nil || leftErr != nil {
				t.Errorf("left: %v, %v, %v", left, err, leftErr)
			}
		})
	}
}

func TestFields(t *testing.T) {
	want := amqp.Table{
		"V": nil, "t": true, "B": byte(200), "b": int8(-3), "s": int16(-300), "I": int32(-70000), "l": int64(math.MinInt64), "f": float32(1.25),
		"d": math.Inf(-1), "D": amqp.Decimal{Scale: 2, Value: -5}, "S": "\xff text", "x": []byte{0, 1}, "T": time.Unix(1_700_000_000, 0).UTC(),
		"A": []any{"a", []any{}, amqp.Table{}}, "F": amqp.Table{"": nil, "\xfe": "k"},
	}
	text, err := json.Marshal(field{want})
	if err != nil {
		t.Fatal(err)
	}
	var got field
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(want), got.value); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{`[]`, `["S"]`, `["S", 1]`, `["?", 1]`, `{}`, `["B", 300]`, `["F", [1]]`, `[1, 2]`} {
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s was read", text)
		}
	}
	if _, err := json.Marshal(field{struct{}{}}); err == nil {
		t.Error("a field of an unknown type was written")
	}
}
