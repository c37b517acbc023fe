package feed_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/functions/feed"
)

// tells waits until READ says why a feed does not run.
func (r *runtime) tells(words string) {
	r.t.Helper()
	eventually(r.t, "READ tells "+words, func() bool {
		message, _ := r.status(messaging, "t")["message"].(string)
		return strings.Contains(message, words)
	})
}

// A feed retries revoked credentials with backoff, and uses new ones immediately.
func TestBindingGoes(t *testing.T) {
	q := newQueued(t)
	f := &firer{}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", "1", nil)
	q.app.acknowledged(1)
	q.unbind(t, "trigger")
	r.tells("the servers refuse the credentials")
	q.app.publish("orders.new", "2", nil)
	r.do("UPDATE", messaging, "t", map[string]any{"credentials": q.bind(t, "new", `{}`)})
	q.app.acknowledged(2)
	if got := r.status(messaging, "t"); got["message"] != nil || got["active"] != true {
		t.Errorf("afterwards %v", got)
	}
	q.unbind(t, "new")
	r.do("DELETE", messaging, "t", nil) // nobody can remove the consumer, and it is not waited for
	eventually(t, "no feed", func() bool { return q.count(t, "feeds") == 0 })
}

// A stream is deleted and created again.
func TestStreamGoes(t *testing.T) {
	q := newQueued(t)
	f := &firer{}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", "1", nil)
	q.app.acknowledged(1)
	if err := q.app.js.DeleteStream(soon(t), "ORDERS"); err != nil {
		t.Fatal(err)
	}
	r.tells("the stream does not exist")
	q.app.stream(nil)
	q.app.publish("orders.new", "2", nil)
	f.waitFor(t, 2)
	q.app.acknowledged(1)
	eventually(t, "READ tells nothing", func() bool { return r.status(messaging, "t")["message"] == nil })
}

// Servers restart, and the application deletes the feed's consumer.
func TestServerRestarts(t *testing.T) {
	q := newQueued(t)
	f := &firer{}
	r := q.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(q.credentials, nil))
	q.app.publish("orders.new", "1", nil)
	q.app.acknowledged(1)
	q.StopNode(0)
	r.tells("the servers do not answer")
	if err := q.StartNode(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	q.app.publish("orders.new", "2", nil)
	f.waitFor(t, 2)
	q.app.acknowledged(2) // a late acknowledgement would reach the next consumer, which has the same name
	if err := q.app.js.DeleteConsumer(soon(t), "ORDERS", q.app.only().Name); err != nil {
		t.Fatal(err)
	}
	f.waitFor(t, 4) // it begins anew, with all that is there
	q.app.publish("orders.new", "3", nil)
	f.waitFor(t, 5)
}

// Feeds continue when a cluster loses a server, even the one they are connected to.
func TestClusterLosesAServer(t *testing.T) {
	h, s := newHouse(t), newServers(t, 3)
	h.trigger(t, "t")
	app := connect(t, s.bind(t, "app", `{}`))
	app.stream(func(c *jetstream.StreamConfig) { c.Replicas = 3 })
	f := &firer{}
	r := h.start(t, f, func(o *feed.Options) { o.Pace.AckWait = 3 * time.Second }) // what was on its way to a lost server comes again then
	r.do("CREATE", messaging, "t", listening(s.bind(t, "trigger", `{}`), nil))
	n := 0
	for lost := range 3 {
		app.publish("orders.new", fmt.Sprint(n), nil)
		n++
		s.StopNode(lost)
		app.publish("orders.new", fmt.Sprint(n), nil)
		n++
		eventually(t, "all arrive", func() bool { return arrived(t, f) == n })
		if err := s.StartNode(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
	}
}

// arrived counts the fired messages without duplicates: an application publishes again if
// it gets no acknowledgement.
func arrived(t *testing.T, f *firer) int {
	t.Helper()
	seen := map[any]bool{}
	for _, e := range f.fired() {
		seen[payload(t, e)["data"]] = true
	}
	return len(seen)
}

// When the database restarts, messages in progress are acknowledged, and feeds continue.
func TestDatabaseRestarts(t *testing.T) {
	dir := t.TempDir()
	start := func() *embedded.Postgres {
		p, err := embedded.StartPostgres(context.Background(), embedded.Options{Dir: dir, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := start()
	defer func() { _ = p.Stop(context.Background()) }()
	h := openHouse(t, p.URL("postgres"))
	s := newServers(t, 1)
	h.trigger(t, "t")
	h.trigger(t, "alarm")
	app := connect(t, s.bind(t, "app", `{}`))
	app.stream(nil)
	f := &firer{}
	r := h.start(t, f, nil)
	r.do("CREATE", messaging, "t", listening(s.bind(t, "trigger", `{}`), nil))
	app.publish("orders.new", "1", nil)
	app.acknowledged(1)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	app.publish("orders.new", "2", nil)
	app.acknowledged(2)
	p = start()
	eventually(t, "the database is back", func() bool { return h.store.Ready(t.Context()) == nil })
	r.do("CREATE", "alarms/once", "alarm", map[string]any{"date": time.Now().Add(2 * time.Second).UnixMilli()})
	f.waitFor(t, 3)
	r.do("DELETE", messaging, "t", nil)
	eventually(t, "no consumer", func() bool { return len(app.consumers("ORDERS")) == 0 })
}
