package rabbitmq

import (
	"errors"
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What the parameters say is what an application can do, no more and no less.
func TestPermissions(t *testing.T) {
	b := newServer(t).backend(t, "perm")
	inst := provisioned(t, b, "permissions", nil)
	owner := dialled(t, bound(t, b, inst, "owner", `{}`))
	for _, queue := range []string{"orders", "bills"} {
		must(t, owner, declares(queue, nil))
		must(t, owner, func(ch *amqp.Channel) error { return publish(testContext(t), ch, queue, "m") })
	}
	type work = func(*amqp.Channel) error
	var (
		get    = func(queue string) work { return func(ch *amqp.Channel) error { return got(ch, queue) } }
		put    = func(exchange string) work { return func(ch *amqp.Channel) error { return put(t, ch, exchange, "key") } }
		bindTo = func(q, e string) work {
			return func(ch *amqp.Channel) error { return ch.QueueBind(q, "key", e, false, nil) }
		}
		erase = func(q string) work {
			return func(ch *amqp.Channel) error { _, err := ch.QueuePurge(q, false); return err }
		}
		exchange = func(e string) work {
			return func(ch *amqp.Channel) error { return ch.ExchangeDeclare(e, "fanout", true, false, false, false, nil) }
		}
	)
	tests := []struct {
		name, params string
		may, mayNot  map[string]work
	}{
		{
			"read only", `{"role": "read_only"}`,
			map[string]work{"consume": get("orders")},
			map[string]work{"declare": declares("new", nil), "declare an exchange": exchange("new"), "publish": put("amq.topic"), "publish to a queue": put(""), "bind": bindTo("orders", "amq.topic")},
		},
		{
			"orders", `{"configure": "^orders$", "write": "^(orders|amq\\.default)$", "read": "^(orders|amq\\.topic)$"}`,
			map[string]work{"consume": get("orders"), "declare": declares("orders", nil), "publish": put(""), "bind": bindTo("orders", "amq.topic")},
			map[string]work{
				"consume bills": get("bills"), "declare bills": declares("bills", nil), "purge bills": erase("bills"),
				"publish elsewhere": put("amq.topic"), "bind bills": bindTo("bills", "amq.topic"), "declare like it": declares("orders2", nil),
			},
		},
		{
			"nothing", `{"configure": "", "write": "", "read": ""}`,
			nil,
			map[string]work{"consume": get("orders"), "declare": declares("orders", nil), "publish": put(""), "bind": bindTo("orders", "amq.topic")},
		},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := dialled(t, bound(t, b, inst, fmt.Sprint(i), test.params))
			for what, work := range test.may {
				if err := s.channel(testContext(t), work); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			for what, work := range test.mayNot {
				if err := s.channel(testContext(t), work); !denied(err) {
					t.Errorf("%s: %v, want to be refused", what, err)
				}
			}
		})
	}
}

// Topics narrow the keys of the exchanges that they name, and of no others.
func TestTopicPermissions(t *testing.T) {
	b := newServer(t).backend(t, "topic")
	inst := provisioned(t, b, "topics", nil)
	owner := dialled(t, bound(t, b, inst, "owner", `{}`))
	must(t, owner, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("other", "topic", true, false, false, false, nil)
	})
	must(t, owner, declares("q", nil))
	s := dialled(t, bound(t, b, inst, "b", `{"topics": [{"exchange": "amq.topic", "write": "^orders\\.", "read": "^orders\\.eu\\."}]}`))
	for _, test := range []struct {
		verb, exchange, key string
		may                 bool
	}{
		{"publish", "amq.topic", "orders.eu", true},
		{"publish", "amq.topic", "bills.eu", false},
		{"publish", "other", "bills.eu", true},
		{"bind", "amq.topic", "orders.eu.new", true},
		{"bind", "amq.topic", "orders.us.new", false},
		{"bind", "amq.topic", "#", false},
		{"bind", "other", "#", true},
	} {
		t.Run(test.verb+" "+test.exchange+" "+test.key, func(t *testing.T) {
			err := s.channel(testContext(t), func(ch *amqp.Channel) error {
				if test.verb == "bind" {
					return ch.QueueBind("q", test.key, test.exchange, false, nil)
				}
				return put(t, ch, test.exchange, test.key)
			})
			if test.may && err != nil || !test.may && !denied(err) {
				t.Error(err)
			}
		})
	}
}

// put publishes to an exchange, and learns whether it was allowed to.
func put(t *testing.T, ch *amqp.Channel, exchange, key string) error {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(testContext(t), exchange, key, false, false, amqp.Publishing{Body: []byte("m")})
	if err != nil {
		return err
	}
	select {
	case <-confirmation.Done():
		if confirmation.Acked() {
			return nil
		}
		return <-closed
	case err := <-closed:
		return err
	}
}

// got takes a message and gives it back.
func got(ch *amqp.Channel, queue string) error {
	message, found, err := ch.Get(queue, false)
	if err != nil || !found {
		return errors.Join(err, fmt.Errorf("found: %t", found))
	}
	return message.Nack(false, true)
}

func denied(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == amqp.AccessRefused
}
