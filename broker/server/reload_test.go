package server

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server is drained without a restart, and the log says what was taken over and what
// was not.
func TestReloadTellsWhatChanged(t *testing.T) {
	f := newClientFiles(t, "")
	catalogWith := func(drain bool, password, description string) {
		f.write("catalog.yml", fmt.Sprintf(`
platforms: [{name: cf, username: cf, passwords: [%q]}]
backends:
  postgres:
    type: database/postgres
    servers:
      a: {config: {url: "postgres://a:b@127.0.0.1:1/a"}, drain: %t}
      b: {config: {url: "postgres://a:b@127.0.0.1:2/b"}}
services:
- id: s
  name: database
  description: %s
  bindable: true
  plans: [{id: p, name: small, description: Small, backend: postgres}]
`, password, drain, description))
	}
	catalogWith(false, "first password", "Databases")
	log := &lines{}
	c, err := LoadCatalog(f.settings)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := newClients(c, f.settings, slog.New(slog.NewJSONHandler(log, nil)), f.metrics)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	drained := map[string]bool{}
	clients.drain = func(server string, is bool) {
		mu.Lock()
		defer mu.Unlock()
		drained[server] = is
	}
	go clients.watch(t.Context())
	logged := func(words string) {
		t.Helper()
		f.soon("not logged: "+words+"\n"+log.String(), func() bool { return strings.Contains(log.String(), words) })
	}
	const reloaded = `"msg":"clients reloaded"`

	catalogWith(true, "first password", "Databases")
	logged(`"server":"postgres/a","drained":true`)
	mu.Lock()
	if len(drained) != 1 || !drained["postgres/a"] {
		t.Errorf("drained: %v", drained)
	}
	mu.Unlock()
	if text := log.String(); strings.Contains(text, reloaded) || strings.Contains(text, "started again") {
		t.Errorf("the log claims what did not happen:\n%s", text)
	}

	catalogWith(true, "first password", "Other databases")
	logged(`take effect when the broker is started again","sections":["services"]`)
	if strings.Contains(log.String(), reloaded) {
		t.Errorf("the log claims a reload that did not happen:\n%s", log.String())
	}

	catalogWith(false, "second password", "Databases")
	logged(`"server":"postgres/a","drained":false`)
	if text := log.String(); !strings.Contains(text, reloaded) || comes(clients.platforms, "cf", "second password") != "cf" {
		t.Errorf("the clients were not reloaded:\n%s", text)
	}
	before := strings.Count(log.String(), "started again")
	time.Sleep(2 * reloadEvery)
	if strings.Count(log.String(), "started again") != before {
		t.Error("what is pending is logged over and over")
	}
}
