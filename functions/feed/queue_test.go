package feed_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	queue "github.com/chandler-broker/chandler/services/queue/nats"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// servers are real NATS servers with an instance of backend queue/nats.
type servers struct {
	*embedded.NATS
	driver   *servicetest.Driver
	instance services.RawInstance
}

func newServers(t *testing.T, nodes int) *servers {
	t.Helper()
	n, err := embedded.StartNATS(t.Context(), embedded.NATSOptions{Dir: t.TempDir(), Nodes: nodes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
			t.Error(err)
		}
	})
	config, err := json.Marshal(map[string]any{
		"url": n.URLs()[0], "servers": n.URL(), "prefix": "test",
		"operator_seed_file": n.OperatorSeedFile(), "system_creds_file": n.SystemCredsFile(),
	})
	if err != nil {
		t.Fatal(err)
	}
	driver, err := servicetest.Open(t.Context(), queue.Definition(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	s := &servers{NATS: n, driver: driver, instance: driver.Instance("queue", json.RawMessage(`{"storage": "64MB"}`), nil)}
	if err := driver.Provision(soon(t), s.instance); err != nil {
		t.Fatal(err)
	}
	return s
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// bind returns a binding's credentials, as applications get them.
func (s *servers) bind(t *testing.T, id, parameters string) map[string]any {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.driver.Bind(soon(t), s.instance, services.RawBinding{ID: id, Params: json.RawMessage(parameters), Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}

func (s *servers) unbind(t *testing.T, id string) {
	t.Helper()
	if err := s.driver.Unbind(soon(t), s.instance, services.RawBinding{ID: id}); err != nil {
		t.Fatal(err)
	}
}

// application publishes messages.
type application struct {
	t  *testing.T
	js jetstream.JetStream
}

func connect(t *testing.T, credentials map[string]any) *application {
	t.Helper()
	conn, err := nats.Connect(credentials["uri"].(string), nats.UserCredentialBytes([]byte(credentials["creds"].(string))), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return &application{t, js}
}

// stream makes stream ORDERS of the subjects orders.>.
func (a *application) stream(change func(*jetstream.StreamConfig)) {
	a.t.Helper()
	config := jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}
	if change != nil {
		change(&config)
	}
	if _, err := a.js.CreateStream(soon(a.t), config); err != nil {
		a.t.Fatal(err)
	}
}

// publish publishes, and retries while no server answers.
func (a *application) publish(subject, data string, headers nats.Header) {
	a.t.Helper()
	eventually(a.t, "the stream takes a message", func() bool {
		ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Second)
		defer cancel()
		_, err := a.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: []byte(data), Header: headers})
		return err == nil
	})
}

// consumers are the names of a stream's consumers.
func (a *application) consumers(stream string) []string {
	a.t.Helper()
	there, err := a.js.Stream(soon(a.t), stream)
	if err != nil {
		a.t.Fatal(err)
	}
	var names []string
	list := there.ConsumerNames(soon(a.t))
	for name := range list.Name() {
		names = append(names, name)
	}
	if list.Err() != nil {
		a.t.Fatal(list.Err())
	}
	return names
}

// only waits until stream ORDERS has exactly one consumer, and returns it.
func (a *application) only() *jetstream.ConsumerInfo {
	a.t.Helper()
	var names []string
	eventually(a.t, "one consumer", func() bool {
		names = a.consumers("ORDERS")
		return len(names) == 1
	})
	c, err := a.js.Consumer(soon(a.t), "ORDERS", names[0])
	if err != nil {
		a.t.Fatal(err)
	}
	info, err := c.Info(soon(a.t))
	if err != nil {
		a.t.Fatal(err)
	}
	return info
}

// acknowledged waits until all messages up to a sequence are acknowledged.
func (a *application) acknowledged(sequence uint64) {
	a.t.Helper()
	eventually(a.t, "all is acknowledged", func() bool {
		info := a.only()
		return info.AckFloor.Stream >= sequence && info.NumAckPending == 0 && info.NumPending == 0
	})
}

const messaging = "messaging/nats"

// listening are the parameters of a feed of stream ORDERS.
func listening(credentials map[string]any, more map[string]any) map[string]any {
	all := map[string]any{"credentials": credentials, "stream": "ORDERS"}
	for key, value := range more {
		all[key] = value
	}
	return all
}

// leaked are the strings of credentials that are in text.
func leaked(credentials map[string]any, text string) (found []string) {
	for _, key := range []string{"jwt", "nkey_seed"} {
		if strings.Contains(text, credentials[key].(string)) {
			found = append(found, key)
		}
	}
	return found
}
