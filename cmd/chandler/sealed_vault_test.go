package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// While Vault is sealed, and holds the administrators, a replica that starts waits
// and says so; the verbs that need only the state work, with none of the catalog's
// variables set.
func TestSealedVault(t *testing.T) {
	v := embeddedtest.Vault(t, nil)
	path := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(path, []byte(tracedCatalog), 0o600); err != nil {
		t.Fatal(err)
	}
	state, address := embeddedtest.Database(t), freeAddress(t)
	db, err := store.Open(t.Context(), state, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pool.Exec(t.Context(), `
		insert into instances (id, platform, service_id, plan_id, organization_id, space_id, context, parameters, maintenance_version, status, backend, backend_type)
		values ('i', 'platform', '5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1', '7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6', 'o', 's', '{}', '{}', '', 'ready', 'postgres', 'database/postgres');
		insert into operations (id, kind, platform, instance_id, service_id, plan_id, state, outcome, created_at, deadline, finished_at)
		values ('op', 'update', 'platform', 'i', '5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1', '7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6', 'failed', 'timed_out', now(), now(), now())`); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"DATABASE_URL": state, "CHANDLER_CATALOG": path, "CHANDLER_LISTEN": address,
		"CHANDLER_USERNAME": "platform", "CHANDLER_PASSWORD": "the platform's password", "VAULT_ADDR": v.Addr(), "VAULT_TOKEN": v.RootToken(),
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	if out, err := administratorsVerb(t, embeddedtest.Database(t), "set", "ADMIN_URL"); err != nil {
		t.Fatal(out, err)
	}
	if err := v.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Unseal(context.Background()) }) // others use it

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"instances", "list"}, "small"},
		{[]string{"instances", "list", "--plan", "small", "--server", "postgres", "--status", "ready"}, "small"},
		{[]string{"instances", "show", "i"}, "small"},
		{[]string{"bindings", "list"}, "APPLICATION"},
		{[]string{"operations", "list"}, "timed_out"},
		{[]string{"operations", "show", "op"}, "timed_out"},
		{[]string{"operations", "retry", "op"}, "in progress"},
		{[]string{"audit", "--action", "retry"}, `"platform":"operator"`},
		{[]string{"quotas"}, "QUOTA"},
	} {
		if out, err := runVerb(t, c.args...); err != nil || !strings.Contains(out, c.want) {
			t.Errorf("chandler %s: %v, want %q in:\n%s", strings.Join(c.args, " "), err, c.want, out)
		}
	}

	s, err := environmentSettings()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	waited := make(chan error, 1)
	go func() { waited <- server.Await(t.Context(), s.Settings, slog.New(slog.NewTextHandler(&log, nil))) }()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case err := <-waited:
			t.Fatalf("it does not wait: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for the credential store") {
		t.Errorf("readiness: %d, %s", code, body)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("liveness: %d", code)
	}
	if code, _ := get("/v2/catalog"); code != http.StatusServiceUnavailable {
		t.Errorf("the catalog: %d", code)
	}
	if err := v.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
	if err := server.Check(s.Settings); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if !strings.Contains(log.String(), "Vault is sealed") {
		t.Errorf("logged:\n%s", log.String())
	}
}
