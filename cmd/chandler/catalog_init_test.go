package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// An operator with two servers has a catalog in one command, and a check that says in
// words what it was compared with.
func TestCatalogInit(t *testing.T) {
	state := embeddedtest.Database(t)
	path := filepath.Join(t.TempDir(), "catalog.yml")
	for name, value := range map[string]string{
		"DATABASE_URL": state, "VAULT_ADDR": "", "CHANDLER_SEALED_KEY": "", "POSTGRES_ADMIN_URL": embeddedtest.Database(t),
		"POWERDNS_API_URL": "http://127.0.0.1:1", "POWERDNS_API_KEY": "secret-secret", "POWERDNS_HOST": "127.0.0.1", "POWERDNS_PORT": "53",
	} {
		t.Setenv(name, value)
	}
	out := mustVerb(t, "catalog", "init", "--only", "database/postgres,dns/powerdns", "--file", path)
	if want := "It reads the variables POSTGRES_ADMIN_URL, POWERDNS_API_KEY, POWERDNS_API_URL, POWERDNS_HOST, POWERDNS_PORT."; !strings.Contains(out, want) {
		t.Errorf("%q, want %q", out, want)
	}
	check := func() string { t.Helper(); return mustVerb(t, "catalog", "check", "--catalog", path) }
	if out := check(); !strings.Contains(out, "2 backend(s), 2 service(s)") || !strings.Contains(out, "the state database is empty") {
		t.Errorf("a fresh state database: %s", out)
	}
	db, err := store.Open(t.Context(), state, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if out := check(); !strings.Contains(out, "agrees with the state") {
		t.Errorf("a migrated state database: %s", out)
	}
	if _, err := db.Pool.Exec(t.Context(), "update goose_db_version set is_applied = false where version_id > 8"); err != nil {
		t.Fatal(err)
	}
	if _, err := runVerb(t, "catalog", "check", "--catalog", path); !isUsage(err) || !strings.Contains(err.Error(), "is at version 8, and this release needs") {
		t.Errorf("a state database of an older release: %v", err)
	}

	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runVerb(t, "catalog", "init", "--file", path); !isUsage(err) || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("a file that is there: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("it was replaced: %v", err)
	}
	if _, err := runVerb(t, "catalog", "init", "--only", "database/oracle", "--file", "-"); !isUsage(err) || !strings.Contains(err.Error(), "there are ") {
		t.Errorf("an unknown type: %v", err)
	}
	if out := mustVerb(t, "catalog", "init", "--file", "-"); !strings.Contains(out, "type: filesystem/smb") {
		t.Errorf("the shipped catalog: %d bytes", len(out))
	}
}
