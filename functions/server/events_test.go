package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/services"
	queue "github.com/chandler-broker/chandler/services/queue/nats"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// messages is a stream EVENTS of a queue's instance, and whom a trigger of a
// namespace connects as.
type messages struct {
	js          jetstream.JetStream
	credentials map[string]any
}

func newMessages(t testing.TB) *messages {
	t.Helper()
	n, err := embedded.StartNATS(t.Context(), embedded.NATSOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop(context.Background()) }) // t's own context has ended
	config, err := json.Marshal(map[string]any{
		"url": n.URL(), "prefix": "test", "operator_seed_file": n.OperatorSeedFile(), "system_creds_file": n.SystemCredsFile(),
	})
	if err != nil {
		t.Fatal(err)
	}
	driver, err := servicetest.Open(t.Context(), queue.Definition(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	inst := driver.Instance("queue", json.RawMessage(`{"storage": "256MB"}`), nil)
	if err := driver.Provision(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	bound := func(id string) map[string]any {
		seed, err := services.NewSeed(services.RandomKey())
		if err != nil {
			t.Fatal(err)
		}
		c, err := driver.Bind(t.Context(), inst, services.RawBinding{ID: id, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return c.Values
	}
	m := &messages{credentials: bound("trigger")}
	mine := bound("application")
	conn, err := nats.Connect(mine["uri"].(string), nats.UserCredentialBytes([]byte(mine["creds"].(string))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if m.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	if _, err := m.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	return m
}

// listened has the stream's messages fire a trigger whose rule runs the action.
func (m *messages) listened(t testing.TB, a application, action object, more object) {
	t.Helper()
	a.expect(t, 200, "PUT", a.own("/actions/work"), action)
	a.expect(t, 200, "PUT", a.own("/triggers/event"), object{"annotations": []object{{"key": "feed", "value": "/whisk.system/messaging/nats"}}})
	a.expect(t, 200, "PUT", a.own("/rules/r"), object{"trigger": "/_/event", "action": "/_/work"})
	parameters := object{
		"lifecycleEvent": "CREATE", "triggerName": "/_/event", "authKey": a.user + ":" + a.password,
		"credentials": m.credentials, "stream": "EVENTS",
	}
	for key, value := range more {
		parameters[key] = value
	}
	a.expect(t, 200, "POST", "/namespaces/whisk.system/actions/messaging/nats?blocking=true", parameters)
}

func (m *messages) publish(t testing.TB, data string) {
	t.Helper()
	if _, err := m.js.Publish(t.Context(), "events.new", []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// done says whether so many messages were acknowledged, and nothing is under way.
func (m *messages) done(t testing.TB, sequence uint64) bool {
	t.Helper()
	stream, err := m.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	done := false
	consumers := stream.ListConsumers(t.Context())
	for info := range consumers.Info() {
		done = info.AckFloor.Stream >= sequence && info.NumAckPending == 0
	}
	if consumers.Err() != nil {
		t.Fatal(consumers.Err())
	}
	return done
}

// A function that fails at a message gets it as often as the plan says, while
// those behind it go on; then the message is a dead letter that names the last
// activation.
func TestDeadLetterOfAFunction(t *testing.T) {
	server, m := newServer(t), newMessages(t)
	limits := admintest.Limits()
	limits.MessageAttempts = 3
	a := server.bound(t, server.operator(t), space, limits)
	m.listened(t, a, javascript(`function main(params) {
		if (params.data.poison) { throw new Error("cannot digest attempt " + params.message.delivered) }
		return { digested: params.data.n }
	}`), nil)
	m.publish(t, `{"poison": true}`)
	for n := range 5 {
		m.publish(t, fmt.Sprintf(`{"n": %d}`, n))
	}
	eventually(t, "the messages behind are digested", func() bool { return len(m.activations(t, a, "success")) == 5 })
	if m.done(t, 1) {
		t.Error("the failed message is done with before its last attempt")
	}
	eventually(t, "all is done", func() bool { return m.done(t, 6) })
	failed := m.activations(t, a, "action developer error")
	if len(failed) != 3 {
		t.Fatalf("%d activations failed, want 3: %v", len(failed), failed)
	}
	dead, err := m.js.Stream(t.Context(), "CHANDLER_DEAD")
	if err != nil {
		t.Fatal(err)
	}
	letter, err := dead.GetLastMsgForSubject(t.Context(), "chandler.dead.EVENTS.event")
	if err != nil {
		t.Fatal(err)
	}
	if string(letter.Data) != `{"poison": true}` || letter.Header.Get("Chandler-Dead-Attempts") != "3" || letter.Header.Get("Chandler-Dead-Reason") != "1 of 1 actions failed" {
		t.Errorf("the dead letter: %s, %v", letter.Data, letter.Header)
	}
	// The letter's activation is the trigger's, whose log names the action's.
	fired, _ := a.expect(t, 200, "GET", a.own("/activations/"+letter.Header.Get("Chandler-Dead-Activation")), nil).(object)
	logs := fmt.Sprint(fired["logs"])
	if !slices.ContainsFunc(failed, func(f object) bool { return strings.Contains(logs, f["activationId"].(string)) }) {
		t.Errorf("the trigger's activation: %v", fired)
	}
	info, err := dead.Info(t.Context())
	if err != nil || info.State.Msgs != 1 {
		t.Errorf("dead letters: %+v, %v", info, err)
	}
}

// activations are those of the action that ended with a status.
func (m *messages) activations(t testing.TB, a application, status string) (found []object) {
	t.Helper()
	list, _ := a.expect(t, 200, "GET", a.own("/activations?name=work&docs=true&limit=200"), nil).([]any)
	for _, one := range list {
		record, _ := one.(object)
		if response, _ := record["response"].(object); response["status"] == status {
			found = append(found, record)
		}
	}
	return found
}

// BenchmarkEvents is how many messages of a queue become finished activations in a
// second, each acknowledged after its activation; beside it stand blocking calls of
// the same action over HTTP, as many at a time as the feed has messages under way.
func BenchmarkEvents(b *testing.B) {
	const inFlight, batch = 16, 1000
	server, m := newServer(b), newMessages(b)
	limits := admintest.Limits()
	limits.FiresPerMinute, limits.InvocationsPerMinute, limits.Concurrency = 1<<30, 1<<30, 1000
	a := server.bound(b, server.operator(b), space, limits)
	m.listened(b, a, javascript(`function main(params) { return { n: params.data } }`), object{"maxInFlight": inFlight})
	m.publish(b, "0") // the action is warm
	sequence := uint64(1)
	m.await(b, sequence)
	var events, calls time.Duration
	for b.Loop() {
		for n := range batch {
			m.publishAsync(b, fmt.Sprint(n))
		}
		sequence += batch
		began := time.Now()
		m.await(b, sequence)
		events += time.Since(began)
		began = time.Now()
		var all sync.WaitGroup
		for range inFlight {
			all.Go(func() {
				for range batch / inFlight {
					a.expect(b, 200, "POST", a.own("/actions/work?blocking=true&result=true"), object{"data": 1})
				}
			})
		}
		all.Wait()
		calls += time.Since(began)
	}
	done := float64(sequence - 1)
	b.ReportMetric(done/events.Seconds(), "events/s")
	b.ReportMetric(done/calls.Seconds(), "calls/s")
	b.ReportMetric(events.Seconds()/calls.Seconds(), "ratio")
}

func (m *messages) publishAsync(b *testing.B, data string) {
	b.Helper()
	if _, err := m.js.PublishAsync("events.new", []byte(data)); err != nil {
		b.Fatal(err)
	}
}

// await waits until so many messages are done with.
func (m *messages) await(b *testing.B, sequence uint64) {
	b.Helper()
	for !m.done(b, sequence) {
		time.Sleep(5 * time.Millisecond)
	}
}
