package openwhisk_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/functions/state"
)

// on is the client at another runtime of the same database.
func (c *client) on(s *server) *client {
	other := *c
	other.server = s
	return &other
}

// A namespace gets 429 beyond its plan's limits, and never because of another namespace.
func TestLimits(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	small := plan()
	small.Concurrency, small.InvocationsPerMinute, small.FiresPerMinute, small.PayloadBytes = 2, 6, 2, 100
	c, other := s.tenant("ns", small), s.tenant("other", small)
	same(t, "limits", c.must(200, "GET", "limits", "").json(t), `{"invocationsPerMinute":6,"concurrentInvocations":2,"firesPerMinute":2,
		"minActionTimeout":100,"maxActionTimeout":300000,"minActionMemory":128,"maxActionMemory":512,"minActionLogs":0,"maxActionLogs":10,
		"minActionConcurrency":1,"maxActionConcurrency":1,"maxParameterSize":"100 B","storeActivations":true,
		"allowedKinds":["wasm:default","wasm:wasi","nodejs:default","sequence"]}`)
	for _, x := range []*client{c, other} {
		x.action("a", "wait")
		x.action("e", "echo")
		x.must(200, "PUT", "triggers/t", "{}")
	}
	if got := c.do("POST", "actions/e", `{"x":"`+strings.Repeat("x", 100)+`"}`); got.status != 413 {
		t.Errorf("payload: %d %s", got.status, got.body)
	}
	awaitMinute(t)
	c.must(202, "POST", "actions/a", "")
	c.must(202, "POST", "actions/a", "")
	for _, path := range []string{"actions/a", "actions/e?blocking=true"} {
		if got := c.do("POST", path, ""); got.status != 429 || messageOf(t, got) != "Too many concurrent requests in flight (count: 3, allowed: 2)." {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	other.must(202, "POST", "actions/a", "")
	close(r.hold)
	eventually(t, "they end", func() bool { return len(c.must(200, "GET", "activations", "").list(t)) == 2 })
	for range 4 {
		c.must(200, "POST", "actions/e?blocking=true", "")
	}
	if got := c.do("POST", "actions/e?blocking=true", ""); got.status != 429 || messageOf(t, got) != "Too many requests in the last minute (count: 7, allowed: 6)." {
		t.Errorf("%d %s", got.status, got.body)
	}
	c.must(204, "POST", "triggers/t", "")
	c.must(204, "POST", "triggers/t", "")
	if got := c.do("POST", "triggers/t", ""); got.status != 429 || messageOf(t, got) != "Too many requests in the last minute (count: 3, allowed: 2)." {
		t.Errorf("%d %s", got.status, got.body)
	}
	other.must(200, "POST", "actions/e?blocking=true", "")
	other.must(204, "POST", "triggers/t", "")
}

// awaitMinute waits until much of a minute is left, because its end resets the counts.
func awaitMinute(t *testing.T) {
	t.Helper()
	if left := 60 - time.Now().Second(); left < 15 {
		t.Logf("waiting %d s for the next minute", left)
		time.Sleep(time.Duration(left) * time.Second)
	}
}

// Limits apply to all runtimes of a database together, after they have exchanged their
// usage. Entities and activations of one are visible to the others immediately.
func TestRuntimesTogether(t *testing.T) {
	store, sealer := database(t)
	r := newRunner()
	one, two := serve(t, store, sealer, r), serve(t, store, sealer, r)
	small := plan()
	small.Concurrency, small.InvocationsPerMinute = 3, 8
	c := one.tenant("ns", small)
	at2 := c.on(two)
	c.action("w", "wait")
	c.action("e", "echo")
	awaitMinute(t)
	c.must(202, "POST", "actions/w", "")
	c.must(202, "POST", "actions/w", "")
	at2.must(202, "POST", "actions/w", "")
	eventually(t, "the second runtime knows", func() bool {
		got := at2.do("POST", "actions/e?blocking=true", "")
		return got.status == 429 && strings.Contains(string(got.body), "concurrent")
	})
	close(r.hold)
	var admitted int
	eventually(t, "it knows that they ended, and how many there were", func() bool {
		got := at2.do("POST", "actions/e?blocking=true", "")
		if got.status == 200 {
			admitted++
		}
		return strings.Contains(string(got.body), "last minute")
	})
	id := c.must(200, "GET", "activations", "").list(t)[0]["activationId"].(string)
	at2.must(200, "GET", "activations/"+id, "")
	if err := store.DeleteKey(t.Context(), store.Pool, state.DeleteKeyParams{Namespace: c.namespace, Binding: c.binding}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*client{c, at2} {
		if got := x.do("GET", "actions", ""); got.status != 401 {
			t.Errorf("a revoked key: %d", got.status)
		}
	}
}

// The other runtimes end the activations of a dead one as internal errors.
func TestDeadRuntime(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	begin := func(runtime uuid.UUID) string {
		id := uuid.New()
		var failed error
		s.store.BeginActivations(t.Context(), s.store.Pool, []state.BeginActivationsParams{{
			ID: id, Name: "a", Path: "p/a", Version: "0.0.1", Subject: "somebody", Runtime: &runtime, StartedAt: time.Now(), Namespace: "ns",
		}}).Exec(func(_ int, err error) { failed = err })
		if failed != nil {
			t.Fatal(failed)
		}
		return strings.ReplaceAll(id.String(), "-", "")
	}
	dead, alive := uuid.New(), uuid.New()
	for _, id := range []uuid.UUID{dead, alive} {
		if err := s.store.Seen(t.Context(), s.store.Pool, id); err != nil {
			t.Fatal(err)
		}
	}
	lost, running := begin(dead), begin(alive)
	if _, err := s.store.Pool.Exec(t.Context(), "update runtimes set seen_at = now() - interval '30 seconds' where id = $1", dead); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its end", func() bool { return c.do("GET", "activations/"+lost, "").status == 200 })
	got := c.must(200, "GET", "activations/"+lost, "").json(t)
	same(t, "record", got, `{"namespace":"ns","name":"a","version":"0.0.1","publish":false,"subject":"somebody","activationId":"`+lost+`","duration":0,"logs":[],
		"annotations":[{"key":"path","value":"ns/p/a"}],
		"response":{"status":"whisk internal error","success":false,"size":63,"result":{"error":"The runtime that ran the action ended unexpectedly."}}}`, "start", "end")
	c.must(404, "GET", "activations/"+running, "")
}

// A runtime that shuts down waits for activations, admits no new ones, and ends the
// remaining ones as internal errors.
func TestClose(t *testing.T) {
	store, sealer := database(t)
	r := newRunner()
	s := serve(t, store, sealer, r)
	c := s.tenant("ns", plan())
	c.action("w", "wait")
	c.must(202, "POST", "actions/w", "")
	eventually(t, "it runs", func() bool { return r.count() == 1 })
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.api.Close(short); err != nil {
		t.Fatal(err)
	}
	if got := c.do("POST", "actions/w", ""); got.status != http.StatusServiceUnavailable {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
	list := c.must(200, "GET", "activations?docs=true", "").list(t)
	if len(list) != 1 {
		t.Fatalf("%v", list)
	}
	same(t, "response", list[0]["response"], `{"status":"whisk internal error","success":false,"size":52,"result":{"error":"The runtime ended before the action did."}}`)
}

// While the database is unavailable, no activation is admitted. Running ones are recorded
// once when it is available again.
func TestDatabaseAway(t *testing.T) {
	pg, err := embedded.StartPostgres(t.Context(), embedded.Options{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		if strings.Contains(err.Error(), "install") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop(context.Background()) })
	store, err := state.Open(t.Context(), pg.URL("postgres"), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	sealer, err := state.ParseKeys([]byte(state.GenerateKey()))
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner()
	s := serve(t, store, sealer, r)
	c := s.tenant("ns", plan())
	c.action("w", "wait")
	c.must(202, "POST", "actions/w", "")
	eventually(t, "it runs", func() bool { return r.count() == 1 })
	pg.Kill()
	close(r.hold)
	eventually(t, "it ends", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.observed) == 1 })
	for _, path := range []string{"GET actions", "POST actions/w", "GET activations"} {
		method, path, _ := strings.Cut(path, " ")
		if got := c.do(method, path, ""); got.status != 503 {
			t.Errorf("%s %s: %d %s", method, path, got.status, got.body)
		}
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the record", func() bool {
		got := c.do("GET", "activations", "")
		return got.status == 200 && len(got.list(t)) == 1
	})
}

// Many concurrent activations: each has its own result and one record.
func TestManyAtOnce(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	c.action("e", "echo")
	const clients, each = 16, 25
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for j := range each {
				body := fmt.Sprintf(`{"n":"%d-%d"}`, i, j)
				if got := c.do("POST", "actions/e?blocking=true&result=true", body); got.status != 200 || strings.TrimSpace(string(got.body)) != body {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
		})
	}
	wg.Wait()
	same(t, "records", c.must(200, "GET", "activations?count=true", "").json(t), fmt.Sprintf(`{"activations":%d}`, clients*each))
}
