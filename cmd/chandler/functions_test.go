package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/function/wasm/state"
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

// A runtime serves the API on one port and what is the operator's on another, and
// ends when it is told to.
func TestFunctionsServe(t *testing.T) {
	environment := map[string]string{
		"FUNCTIONS_DATABASE_URL": embeddedtest.Database(t), "FUNCTIONS_KEY": state.GenerateKey(), "FUNCTIONS_CACHE": t.TempDir(),
		"FUNCTIONS_LISTEN": freeAddress(t), "FUNCTIONS_ADMIN_LISTEN": freeAddress(t), "FUNCTIONS_WORKERS": "1",
	}
	api, admin := "http://"+environment["FUNCTIONS_LISTEN"], "http://"+environment["FUNCTIONS_ADMIN_LISTEN"]
	environment["FUNCTIONS_API_HOST"] = api
	s, err := readFunctionsSettings(lookupIn(environment))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f, err := openFunctions(ctx, s, slog.New(slog.DiscardHandler))
	if err != nil {
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
	if r := f.ready(t.Context()); r.Ready {
		t.Error("it is ready after its end")
	}
}
