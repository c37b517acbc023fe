package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/function/openwhisk"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestFunctionsSettings(t *testing.T) {
	s, err := readFunctionsSettings(lookupIn(map[string]string{
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

// All that is wrong is told together, and no secret.
func TestFunctionsSettingsFaults(t *testing.T) {
	_, err := readFunctionsSettings(lookupIn(map[string]string{
		"FUNCTIONS_KEY": "hunter2", "FUNCTIONS_LISTEN": "9000", "FUNCTIONS_API_HOST": "http://u:hunter2@h", "FUNCTIONS_WORKERS": "0",
		"FUNCTIONS_MESSAGE_SERVERS": "a", "FUNCTIONS_TLS_CERT": "c", "CHANDLER_LOG_LEVEL": "loud",
	}))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !isUsage(err) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{
		"FUNCTIONS_DATABASE_URL is missing", "FUNCTIONS_KEY, FUNCTIONS_KEY_FILE: functions' keys, line 1", "FUNCTIONS_LISTEN must be",
		"FUNCTIONS_API_HOST must be", "FUNCTIONS_WORKERS must be", "FUNCTIONS_MESSAGE_SERVERS must be",
		"FUNCTIONS_TLS_CERT and FUNCTIONS_TLS_KEY go together", "CHANDLER_LOG_LEVEL must be",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
	_, err = readFunctionsSettings(lookupIn(map[string]string{"FUNCTIONS_KEY_FILE": "/none.key", "FUNCTIONS_DATABASE_URL": "x"}))
	if err == nil || !strings.Contains(err.Error(), "FUNCTIONS_KEY_FILE: ") {
		t.Errorf("a key file that is not there: %v", err)
	}
}

// serveFunctions serves with more in the environment than it takes, until stop.
func serveFunctions(t *testing.T, more map[string]string) (f *functions, environment map[string]string, stop func()) {
	t.Helper()
	environment = map[string]string{
		"FUNCTIONS_DATABASE_URL": embeddedtest.Database(t), "FUNCTIONS_KEY": state.GenerateKey(), "FUNCTIONS_CACHE": t.TempDir(),
		"FUNCTIONS_LISTEN": freeAddress(t), "FUNCTIONS_ADMIN_LISTEN": freeAddress(t), "FUNCTIONS_WORKERS": "1",
	}
	maps.Copy(environment, more)
	api := "http://" + environment["FUNCTIONS_LISTEN"]
	environment["FUNCTIONS_API_HOST"] = api
	s, err := readFunctionsSettings(lookupIn(environment))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	if f, err = openFunctions(ctx, s, slog.New(slog.DiscardHandler)); err != nil {
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
		if err := f.runtime.Close(); err != nil {
			t.Error(err)
		}
	}
}

// doesNothing is a module of WebAssembly with a memory and an empty function _start.
const doesNothing = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06_start\x00\x00\x06memory\x02\x00" + "\x0a\x04\x01\x02\x00\x0b"

// A call can be followed from the client to the activation; neither its parameters
// nor the key are told.
func TestFunctionsTraces(t *testing.T) {
	sink := &spans{}
	collect := httptest.NewServer(sink)
	defer collect.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collect.URL) // the exporter reads the process's own
	profiles := freeAddress(t)
	_, environment, stop := serveFunctions(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": collect.URL, "CHANDLER_PROFILE_LISTEN": profiles})
	if status, _ := get(t, "http://"+profiles+"/debug/pprof/goroutine?debug=1"); status != http.StatusOK {
		t.Errorf("profiles: %d", status)
	}
	config, err := json.Marshal(map[string]string{"database_url": environment["FUNCTIONS_DATABASE_URL"], "api_host": environment["FUNCTIONS_API_HOST"]})
	if err != nil {
		t.Fatal(err)
	}
	backend, err := servicetest.Open(t.Context(), openwhisk.Definition(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = backend.Close() }()
	inst := backend.Instance("traced", nil, nil)
	if err := backend.Provision(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	bound, err := backend.Bind(t.Context(), inst, services.RawBinding{ID: "b", Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := bound.Values["auth"].(string)
	user, password, _ := strings.Cut(key, ":")
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
	_, edges := sink.in(trace)
	if want := "POST /api/v1/namespaces/{namespace}/actions/{name} > activation wasm:default"; !slices.Contains(edges, want) {
		t.Errorf("%q is missing in %q", want, edges)
	}
	for _, secret := range []string{"a card's number", password} {
		if strings.Contains(sink.text, secret) {
			t.Errorf("the spans tell %q", secret)
		}
	}
	if !strings.Contains(sink.text, "chandler-functions") || !strings.Contains(sink.text, "faas.invocation_id") {
		t.Error("spans do not say what they are of")
	}
}

// A runtime serves the API on one port and what is the operator's on another, and
// ends when it is told to.
func TestFunctionsServe(t *testing.T) {
	f, environment, stop := serveFunctions(t, nil)
	api, admin := environment["FUNCTIONS_API_HOST"], "http://"+environment["FUNCTIONS_ADMIN_LISTEN"]
	for _, want := range []struct {
		url    string
		status int
		body   string
	}{
		{api + "/readyz", 200, ""},
		{api + "/metrics", 404, ""},
		{api + "/api/v1/namespaces", 401, "error"},
		{admin + "/readyz", 200, `"ready":true`},
		{admin + "/metrics", 200, "go_goroutines"},
		{admin + "/api/v1/namespaces", 404, ""},
	} {
		if status, body := get(t, want.url); status != want.status || !strings.Contains(body, want.body) {
			t.Errorf("%s: %d %s", want.url, status, body)
		}
	}
	stop()
	if r := f.ready(); r.Ready {
		t.Error("it is ready after its end")
	}
}

const functionsMetrics = "../../deploy/monitoring/chandler-functions.metrics"

var update = flag.Bool("update", false, "write what the tests find to the files that they compare it with, for review")

// compareMetrics compares a registry's metrics and their labels with a list.
func compareMetrics(t *testing.T, file string, registry *prometheus.Registry) {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() { registry.Describe(descriptions); close(descriptions) }()
	described := regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*variableLabels: \{([^}]*)\}\}$`)
	var lines []string
	for d := range descriptions {
		match := described.FindStringSubmatch(d.String())
		if match == nil {
			t.Fatalf("%s", d)
		}
		if !strings.HasPrefix(match[1], "go_") || match[1] == "go_goroutines" { // the others change with Go's versions
			lines = append(lines, match[1]+"{"+match[2]+"}\n")
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: run this test with -update (-want +got):\n%s", file, diff)
	}
}

func TestFunctionsMetrics(t *testing.T) {
	s, err := readFunctionsSettings(lookupIn(map[string]string{
		"FUNCTIONS_DATABASE_URL": embeddedtest.Database(t), "FUNCTIONS_KEY": state.GenerateKey(), "FUNCTIONS_CACHE": t.TempDir(), "FUNCTIONS_WORKERS": "1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFunctions(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.runtime.Close(); err != nil {
			t.Error(err)
		}
	}()
	compareMetrics(t, functionsMetrics, f.registry)
}
