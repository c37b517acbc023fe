package openwhisk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/openwhisk"
	"github.com/chandler-broker/chandler/functions/state"
)

// generous limits a wait that is short on an idle machine.
const generous = 5 * time.Minute

// server is a runtime's API on its own database.
type server struct {
	t      testing.TB
	store  *state.Store
	sealer *state.Sealer
	api    *openwhisk.API
	url    string
	logs   *syncBuffer

	mu       sync.Mutex
	observed []openwhisk.Observation
}

// syncBuffer is a buffer for several writers.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func database(t testing.TB) (*state.Store, *state.Sealer) {
	t.Helper()
	store, err := state.Open(t.Context(), embeddedtest.Database(t), 16)
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
	return store, sealer
}

func newServer(t testing.TB, r openwhisk.Runner) *server {
	store, sealer := database(t)
	return serve(t, store, sealer, r)
}

// serve starts a runtime on a database, beside others.
func serve(t testing.TB, store *state.Store, sealer *state.Sealer, r openwhisk.Runner) *server {
	t.Helper()
	s := &server{t: t, store: store, sealer: sealer, logs: &syncBuffer{}}
	web := httptest.NewUnstartedServer(nil)
	var err error
	s.api, err = openwhisk.New(openwhisk.Options{
		Store: store, Sealer: sealer, Runner: r, Logger: slog.New(slog.NewTextHandler(s.logs, nil)),
		APIHost: "http://" + web.Listener.Addr().String(), Observe: s.observe,
	})
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = s.api.Handler()
	web.Start()
	s.url = web.URL
	life, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.api.Run(life); close(ended) }()
	t.Cleanup(func() {
		late, cancel := context.WithTimeout(context.Background(), generous)
		defer cancel()
		if err := s.api.Close(late); err != nil {
			t.Errorf("close: %v", err)
		}
		end()
		<-ended
		web.Close()
	})
	return s
}

func (s *server) observe(o openwhisk.Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observed = append(s.observed, o)
}

// plan is the default plan of tests.
func plan() state.Limits {
	return state.Limits{
		Plan: "wasm-test", MemoryBytes: 512 << 20, TimeoutMillis: 300_000, LogBytes: 10 << 20, CodeBytes: 48 << 20, PayloadBytes: 1 << 20,
		Concurrency: 100, InvocationsPerMinute: 10_000, FiresPerMinute: 10_000, SequenceLength: 50,
		Actions: 1000, Triggers: 1000, Rules: 1000, Packages: 1000, RetentionSeconds: 3600, ActivationBytes: 1 << 30,
	}
}

// client calls the API with one key.
type client struct {
	*server
	namespace, user, key, binding string
}

// tenant creates a namespace and a key to it.
func (s *server) tenant(name string, limits state.Limits) *client {
	s.t.Helper()
	raw, err := json.Marshal(limits)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.store.PutNamespace(s.t.Context(), s.store.Pool, state.PutNamespaceParams{Name: name, Limits: raw, Mounts: []byte("[]")}); err != nil {
		s.t.Fatal(err)
	}
	return s.bind(name, "binding-of-"+name, state.ReadWrite)
}

func (s *server) bind(namespace, binding, role string) *client {
	s.t.Helper()
	c := &client{s, namespace, uuid.NewString(), strings.Repeat("k", 30) + uuid.NewString()[:34], binding}
	hash := sha256.Sum256([]byte(c.key))
	n, err := s.store.PutKey(s.t.Context(), s.store.Pool, state.PutKeyParams{Uuid: uuid.MustParse(c.user), Namespace: namespace, Binding: binding, Hash: hash[:], Role: role})
	if n != 1 || err != nil {
		s.t.Fatal(n, err)
	}
	return c
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (s *server) do(request *http.Request) reply {
	s.t.Helper()
	response, err := http.DefaultTransport.RoundTrip(request) // follows no redirects
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, body}
}

func (s *server) request(method, path, body string) *http.Request {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return request
}

// do calls a path below the client's namespace.
func (c *client) do(method, path, body string) reply {
	c.t.Helper()
	return c.call(method, "/api/v1/namespaces/_/"+path, body)
}

func (c *client) call(method, path, body string) reply {
	c.t.Helper()
	request := c.request(method, path, body)
	request.SetBasicAuth(c.user, c.key)
	request.Header.Set("Content-Type", "application/json")
	return c.server.do(request)
}

// must fails the test unless the answer has the status.
func (c *client) must(status int, method, path, body string) reply {
	c.t.Helper()
	r := c.do(method, path, body)
	if r.status != status {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.body)
	}
	return r
}

// action deploys code of the runner above.
func (c *client) action(name, code string, more ...string) {
	c.t.Helper()
	body := `{"exec":{"kind":"nodejs:default","code":` + quote(code) + `}`
	for _, m := range more {
		body += "," + m
	}
	c.must(200, "PUT", "actions/"+name+"?overwrite=true", body+"}")
}

func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// json reads the answer as an object.
func (r reply) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

func (r reply) list(t testing.TB) []map[string]any {
	t.Helper()
	var v []map[string]any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// same compares an answer with JSON, except for keys that vary.
func same(t testing.TB, what string, got any, want string, except ...string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var g any
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	if object, ok := g.(map[string]any); ok {
		for _, key := range except {
			if _, there := object[key]; !there {
				t.Errorf("%s: no %s", what, key)
			}
			delete(object, key)
		}
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(generous); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, generous)
		}
	}
}

func messageOf(t testing.TB, r reply) string {
	t.Helper()
	v := r.json(t)
	if code, ok := v["code"].(string); !ok || code == "" || r.header.Get("X-Request-Id") != code {
		t.Errorf("no code, or not that of the header: %s", r.body)
	}
	message, _ := v["error"].(string)
	return message
}

// any reads the answer as any JSON.
func (r reply) any(t testing.TB) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}
