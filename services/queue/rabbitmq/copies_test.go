package rabbitmq

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// fill declares one of everything that lasts, and some of what does not.
func (s *testServer) fill(t *testing.T, mine map[string]any) func(t *testing.T, theirs map[string]any) {
	c := dialled(t, mine)
	err := c.channel(testContext(t), func(ch *amqp.Channel) error {
		queue := func(name string, durable, autoDelete, exclusive bool, args amqp.Table) error {
			_, err := ch.QueueDeclare(name, durable, autoDelete, exclusive, false, args)
			return err
		}
		for _, err := range []error{
			ch.ExchangeDeclare("orders", "topic", true, false, false, false, nil),
			ch.ExchangeDeclare("in/ternal é", "headers", true, false, true, false, amqp.Table{"alternate-exchange": "orders"}),
			ch.ExchangeDeclare("passing", "fanout", false, true, false, false, nil),
			queue("classic", true, false, false, amqp.Table{amqp.QueueTypeArg: "classic", "x-max-length": 10, "x-dead-letter-exchange": "orders"}),
			queue("by default", true, false, false, nil),
			queue("log/é?x=1", true, false, false, amqp.Table{amqp.QueueTypeArg: "stream"}),
			queue("expires", true, false, false, amqp.Table{amqp.QueueTypeArg: "classic", "x-expires": 3600000}),
			queue("exclusive", false, true, true, amqp.Table{amqp.QueueTypeArg: "classic"}),
			ch.QueueBind("classic", "eu.#", "orders", false, nil),
			ch.QueueBind("classic", "us.*", "orders", false, nil),
			ch.QueueBind("by default", "", "in/ternal é", false, amqp.Table{"x-match": "all", "kind": "invoice", "n": 5}),
			ch.QueueBind("log/é?x=1", "all", "amq.direct", false, nil),
			ch.QueueBind("expires", "all", "amq.direct", false, nil),
			ch.ExchangeBind("orders", "key", "amq.topic", false, nil),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := s.everythingOf(t, mine)
	if len(want) < 10 {
		t.Fatalf("too little to copy: %v", want)
	}
	publishOddly(t, c, "log/é?x=1")
	if err := c.Close(); err != nil { // connections are limited
		t.Fatal(err)
	}
	messages := readStream(t, mine, "log/é?x=1", len(oddMessages()))
	return func(t *testing.T, theirs map[string]any) {
		if diff := cmp.Diff(messages, readStream(t, theirs, "log/é?x=1", len(messages))); diff != "" {
			t.Errorf("the restored messages differ (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, s.everythingOf(t, theirs)); diff != "" {
			t.Errorf("the restored virtual host differs (-want +got):\n%s", diff)
		}
	}
}

// everythingOf lists what lasts in a virtual host, and its policies.
func (s *testServer) everythingOf(t *testing.T, credentials map[string]any) []string {
	t.Helper()
	vhost, _ := credentials["vhost"].(string)
	var lines []string
	for _, kind := range []string{"queues", "exchanges", "bindings"} {
		var all []map[string]any
		if err := s.ask(testContext(t), "/api/"+kind+"/"+url.PathEscape(vhost)+"?disable_stats=true", &all); err != nil {
			t.Fatal(err)
		}
		for _, entry := range all {
			line := map[string]any{}
			for _, key := range []string{"name", "type", "durable", "arguments", "internal", "source", "destination", "destination_type", "routing_key"} {
				line[key] = entry[key]
			}
			text, _ := json.Marshal(line)
			if !slices.ContainsFunc([]string{"expires", "exclusive", "passing", probe}, func(name string) bool { return strings.Contains(string(text), name) }) {
				lines = append(lines, kind+" "+string(text))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// What users cannot make, or their plan does not allow, does not come back from a copy.
func TestHostileCopy(t *testing.T) {
	s := newServer(t)
	b, ctx := s.backend(t, "hostile"), testContext(t)
	inst := newInstance("target", func(i *instance) { i.Plan.Queues = 2 })
	if err := servicetest.Patient(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servicetest.Patient(b).Deprovision(testContext(t), inst) })
	queue := func(name string, args map[string]any) copiedQueue {
		return copiedQueue{Name: name, Type: "classic", Durable: true, Arguments: args}
	}
	for name, c := range map[string]vhostCopy{
		"too many queues":          {Queues: []copiedQueue{queue("a", nil), queue("b", nil), queue("c", nil)}},
		"a reserved queue":         {Queues: []copiedQueue{queue("amq.gen-x", nil)}},
		"a queue without a name":   {Queues: []copiedQueue{queue("", nil)}},
		"traversal":                {Queues: []copiedQueue{queue("..", nil)}},
		"a long name":              {Queues: []copiedQueue{queue(strings.Repeat("x", 256), nil)}},
		"a reserved exchange":      {Exchanges: []copiedExchange{{Name: "amq.evil", Type: "fanout", Durable: true}}},
		"an unknown exchange type": {Exchanges: []copiedExchange{{Name: "x", Type: "x-nonsense", Durable: true}}},
		"an invalid argument":      {Queues: []copiedQueue{queue("q", map[string]any{"x-max-length": "many"})}},
		"a binding of nothing":     {Bindings: []copiedBinding{{Source: "amq.direct", Destination: "q", DestinationType: "queue"}}},
		"a binding to nothing":     {Queues: []copiedQueue{queue("q", nil)}, Bindings: []copiedBinding{{Source: "x", Destination: "q", DestinationType: "queue"}}},
		"a binding of another kind": {Queues: []copiedQueue{queue("q", nil)},
			Bindings: []copiedBinding{{Source: "amq.direct", Destination: "q", DestinationType: "../../users"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.Complete = true
			contents, err := c.contents(inst.Plan)
			if err != nil {
				t.Fatal(err)
			}
			stream, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: bytes.NewReader(stream)})
			if _, rejected := services.IsRejected(err); !rejected {
				t.Errorf("not rejected: %v", err)
			}
		})
	}
}

// A copy says how many messages it lacks, and a plan with another default type would change queues.
func TestCopySaysWhatItLacks(t *testing.T) {
	c := vhostCopy{Queues: []copiedQueue{
		{Name: "a", Durable: true, Messages: 5}, {Name: "b", Messages: 7}, {Name: "c", Durable: true},
	}, Exchanges: []copiedExchange{{Name: "amq.direct", Durable: true}, {Name: "x", AutoDelete: true, Durable: true}}}
	c.keep()
	contents, err := c.contents(Plan{DefaultQueueType: "quorum"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Messages of classic and quorum queues: about 12 in 2 queues. RabbitMQ cannot read them without consuming them.",
		"2 queues and exchanges that end with their application or expire: not durable, exclusive, auto-delete, with x-expires, or named by the server.",
	}
	if diff := cmp.Diff(want, contents.Omitted); diff != "" {
		t.Errorf("omitted (-want +got):\n%s", diff)
	}
	var d copyDetails
	if err := json.Unmarshal(contents.Details, &d); err != nil {
		t.Fatal(err)
	}
	if d.fits(Plan{DefaultQueueType: "quorum", Queues: 2}, contents.Counts) != nil || d.fits(Plan{DefaultQueueType: "classic", Queues: 2}, contents.Counts) == nil {
		t.Error("the default queue type is not compared")
	}
}
