package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// testServer is a runtime in this process on a database of its own; its workers
// are processes of this program.
type testServer struct {
	database, key, cache string
	url                  string
	store                *state.Store
	registry             *prometheus.Registry
	log                  *slog.Logger // nil: none
}

func newServer(t testing.TB) *testServer {
	t.Helper()
	s := &testServer{database: embeddedtest.Database(t), key: state.GenerateKey()}
	s.start(t)
	return s
}

// another is one more runtime of the same database.
func (s *testServer) another(t *testing.T) *testServer {
	t.Helper()
	other := &testServer{database: s.database, key: s.key}
	other.start(t)
	return other
}

func (s *testServer) start(t testing.TB) {
	t.Helper()
	s.registry, s.cache = prometheus.NewRegistry(), t.TempDir()
	log := s.log
	if log == nil {
		log = discard()
	}
	sealer, err := state.ParseKeys([]byte(s.key))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(nil)
	s.url = "http://" + web.Listener.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s.store, err = state.Open(ctx, s.database, 16); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.store.Close)
	r, err := Open(ctx, Options{
		Store: s.store, Sealer: sealer, APIHost: s.url, CacheDir: s.cache,
		WorkerCommand: []string{embeddedtest.FunctionsProgram(t), "worker"}, Registry: s.registry, Logger: log, MessageServers: []string{feed.AnyServer},
	})
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = r.Handler()
	web.Start()
	life, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(life) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("end the runtime: %v", err)
		}
		web.Close()
		if err := r.Close(); err != nil {
			t.Errorf("close the runtime: %v", err)
		}
	})
}

// compiled says whether the compiled form of a code is stored.
func (s *testServer) compiled(t *testing.T, code string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(s.cache, fmt.Sprintf("%x", sha256.Sum256([]byte(code)))))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// counted is the sum of a counter for a plan and a namespace.
func (s *testServer) counted(t *testing.T, name, plan, namespace string) (sum float64) {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == name && labels["plan"] == plan && labels["namespace"] == namespace {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// eventually waits for what happens in the background.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func (s *testServer) address(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(s.database)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// application calls the API with credentials.
type application struct {
	host, user, password, namespace string
	client                          *http.Client
}

// space is the namespace of tests that need one.
const space = "space"

// operator administers the server's database.
func (s *testServer) operator(t testing.TB) *admintest.Operator {
	t.Helper()
	return admintest.Open(t, s.database)
}

// bound makes a namespace and a key, and returns an application that has it.
func (s *testServer) bound(t testing.TB, o *admintest.Operator, namespace string, limits state.Limits, mounts ...admintest.Mount) application {
	t.Helper()
	o.Namespace(t, namespace, limits, mounts...)
	id, key := o.Key(t, namespace, namespace+"-key")
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return application{s.url, id, key, namespace, &http.Client{Transport: transport, Timeout: 90 * time.Second}}
}

// do makes a request of a path below /api/v1 and returns its status and answer.
func (a application) do(t testing.TB, method, path string, body any) (int, any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, a.host+"/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(a.user, a.password)
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer any
	if err := json.Unmarshal(content, &answer); err != nil && len(content) > 0 {
		answer = string(content)
	}
	return response.StatusCode, answer
}

// expect makes a request and fails t where its status is another one.
func (a application) expect(t testing.TB, want int, method, path string, body any) any {
	t.Helper()
	status, answer := a.do(t, method, path, body)
	if status != want {
		t.Errorf("%s %s: %d, want %d: %.500v", method, path, status, want, answer)
	}
	return answer
}

// own is a path in the application's namespace.
func (a application) own(path string) string { return "/namespaces/_" + path }

type object = map[string]any

// javascript is an action of this code.
func javascript(code string) object {
	return object{"exec": object{"kind": "nodejs:default", "code": code}}
}

const hello = `function main(params) { return { greeting: "hello " + (params.name || "you") }; }`
