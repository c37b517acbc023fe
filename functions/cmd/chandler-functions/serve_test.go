package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/functions/state"
)

// TestMain makes the test binary a worker where a runtime under test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	embeddedtest.Main(m)
}

func lookupIn(environment map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := environment[name]
		return v, ok
	}
}

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

func TestSettings(t *testing.T) {
	s, err := readSettings(lookupIn(map[string]string{
		"FUNCTIONS_DATABASE_URL": "postgres://u@h/d", "FUNCTIONS_KEY": state.GenerateKey(), "PORT": "9000", "FUNCTIONS_CACHE": "/c",
		"FUNCTIONS_MESSAGE_SERVERS": "a:1, b:2",
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{s.listen, s.adminListen, s.apiHost, s.cache, strings.Join(s.messageServers, " ")}
	if diff := cmp.Diff([]string{":9000", "127.0.0.1:3234", "http://localhost:9000", "/c", "a:1 b:2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// All faults are reported together, without secrets.
func TestSettingsFaults(t *testing.T) {
	_, err := readSettings(lookupIn(map[string]string{
		"FUNCTIONS_KEY": "hunter2", "FUNCTIONS_LISTEN": "9000", "FUNCTIONS_API_HOST": "http://u:hunter2@h", "FUNCTIONS_WORKERS": "0",
		"FUNCTIONS_MESSAGE_SERVERS": "a", "FUNCTIONS_TLS_CERT": "c", "CHANDLER_LOG_LEVEL": "loud", "FUNCTIONS_ADMIN_TOKEN": "hunter2",
	}))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !isUsage(err) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{
		"FUNCTIONS_DATABASE_URL is missing", "FUNCTIONS_KEY, FUNCTIONS_KEY_FILE: functions' keys, line 1", "FUNCTIONS_LISTEN must be",
		"FUNCTIONS_API_HOST must be", "FUNCTIONS_WORKERS must be", "FUNCTIONS_MESSAGE_SERVERS must be",
		"FUNCTIONS_TLS_CERT and FUNCTIONS_TLS_KEY must be set together", "line 1: must have 20 characters", "CHANDLER_LOG_LEVEL must be",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported: %v", want, err)
		}
	}
	_, err = readSettings(lookupIn(map[string]string{"FUNCTIONS_KEY_FILE": "/none.key", "FUNCTIONS_DATABASE_URL": "x"}))
	if err == nil || !strings.Contains(err.Error(), "FUNCTIONS_KEY_FILE: open /none.key") {
		t.Errorf("a missing key file: %v", err)
	}
}

// freeAddress is one of loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// lines is a writer that many may read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// serving serves with more variables in the environment than the required ones, until stop.
func serving(t *testing.T, more map[string]string) (f *program, environment map[string]string, stop func()) {
	t.Helper()
	environment = map[string]string{
		"FUNCTIONS_DATABASE_URL": embeddedtest.Database(t), "FUNCTIONS_KEY": state.GenerateKey(), "FUNCTIONS_CACHE": t.TempDir(),
		"FUNCTIONS_LISTEN": freeAddress(t), "FUNCTIONS_ADMIN_LISTEN": freeAddress(t), "FUNCTIONS_WORKERS": "1",
	}
	maps.Copy(environment, more)
	api := "http://" + environment["FUNCTIONS_LISTEN"]
	environment["FUNCTIONS_API_HOST"] = api
	s, err := readSettings(lookupIn(environment))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	if f, err = open(ctx, s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var out lines
	ended := make(chan error, 1)
	go func() { ended <- f.serve(ctx, &out) }()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), "ready: "+api+"\n"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not serve: %s", out.String())
		}
	}
	return f, environment, func() {
		t.Helper()
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it does not end")
		}
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}
}

// doesNothing is a module of WebAssembly with a memory and an empty function _start.
const doesNothing = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06_start\x00\x00\x06memory\x02\x00" + "\x0a\x04\x01\x02\x00\x0b"

// A call can be traced from the client to the activation. Spans contain neither its
// parameters nor the key.
func TestTraces(t *testing.T) {
	sink := &spans{}
	collect := httptest.NewServer(sink)
	defer collect.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collect.URL) // the exporter reads the process's own
	profiles := freeAddress(t)
	_, environment, stop := serving(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collect.URL, "CHANDLER_PROFILE_LISTEN": profiles})
	if status, _ := get(t, "http://"+profiles+"/debug/pprof/goroutine?debug=1"); status != http.StatusOK {
		t.Errorf("profiles: %d", status)
	}
	operator := admintest.Open(t, environment["FUNCTIONS_DATABASE_URL"])
	operator.Namespace(t, "traced", admintest.Limits())
	user, password := operator.Key(t, "traced", "k")
	const trace = "0af7651916cd43dd8448eb211c80319d"
	call := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, environment["FUNCTIONS_API_HOST"]+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, password)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	call("PUT", "/api/v1/namespaces/_/actions/nothing",
		`{"exec": {"kind": "wasm:default", "binary": true, "code": "`+base64.StdEncoding.EncodeToString([]byte(doesNothing))+`"}}`)
	call("POST", "/api/v1/namespaces/_/actions/nothing?blocking=true", `{"card": "a card's number"}`)
	stop()
	if want := "POST /api/v1/namespaces/{namespace}/actions/{name} > activation wasm:default"; !slices.Contains(sink.edges(trace), want) {
		t.Errorf("%q is missing in %q", want, sink.edges(trace))
	}
	for _, secret := range []string{"a card's number", password} {
		if strings.Contains(sink.text, secret) {
			t.Errorf("the spans contain %q", secret)
		}
	}
	if !strings.Contains(sink.text, "chandler-functions") || !strings.Contains(sink.text, "faas.invocation_id") {
		t.Error("the spans name neither the service nor the activation")
	}
}

// spans is a collector of OTLP over HTTP.
type spans struct {
	mu    sync.Mutex
	found []*traces.Span
	text  string
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var export collector.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &export) != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += protojson.Format(&export)
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			s.found = append(s.found, scope.GetSpans()...)
		}
	}
}

// edges are the parents and children among a trace's spans, as "parent > child".
func (s *spans) edges(trace string) (edges []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, parent := range s.found {
		for _, child := range s.found {
			if hex.EncodeToString(child.GetTraceId()) == trace && bytes.Equal(child.GetParentSpanId(), parent.GetSpanId()) {
				edges = append(edges, parent.GetName()+" > "+child.GetName())
			}
		}
	}
	return edges
}

// A runtime serves the API on one port and the operator's pages on another, until its
// context ends.
func TestServe(t *testing.T) {
	const token = "a-token-of-the-operator"
	f, environment, stop := serving(t, map[string]string{"FUNCTIONS_ADMIN_TOKEN": token})
	api, admin := environment["FUNCTIONS_API_HOST"], "http://"+environment["FUNCTIONS_ADMIN_LISTEN"]
	for _, want := range []struct {
		url    string
		status int
		body   string
	}{
		{api + "/readyz", 200, ""},
		{api + "/metrics", 404, ""},
		{api + "/api/v1/namespaces", 401, "error"},
		{api + "/admin/v1/ready", 404, ""},
		{admin + "/admin/v1/ready", 401, `"unauthenticated"`},
		{admin + "/readyz", 200, `"ready":true`},
		{admin + "/metrics", 200, "go_goroutines"},
		{admin + "/api/v1/namespaces", 404, ""},
	} {
		if status, body := get(t, want.url); status != want.status || !strings.Contains(body, want.body) {
			t.Errorf("%s: %d %s", want.url, status, body)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, admin+"/admin/v1/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("with the token: %d", response.StatusCode)
	}
	stop()
	if f.health.ready() {
		t.Error("it is ready after its end")
	}
}

// Without tokens and authorities the administration API is off.
func TestNoAdministrators(t *testing.T) {
	_, environment, stop := serving(t, nil)
	if status, _ := get(t, "http://"+environment["FUNCTIONS_ADMIN_LISTEN"]+"/admin/v1/ready"); status != http.StatusNotFound {
		t.Errorf("the administration API: %d", status)
	}
	stop()
}
