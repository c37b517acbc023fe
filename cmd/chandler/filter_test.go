package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

const filteredCatalog = `
backends:
  pg: {type: database/postgres, servers: {default: {config: {url: "${A_URL}"}}, b: {config: {url: "${B_URL}"}}}}
services:
- {id: s1, name: database, description: databases, bindable: true, plans: [
    {id: p1, name: small, description: small, backend: pg, maintenance_info: {version: 2.0.0}},
    {id: p2, name: large, description: large, backend: pg}]}
- {id: s2, name: other, description: others, bindable: true, plans: [{id: p3, name: small, description: small, backend: pg}]}
`

const filteredState = `
insert into instances (id, platform, service_id, plan_id, organization_id, space_id, context, parameters, maintenance_version, status, condition, backend, backend_type, server) values
	('i1', 'cf',  's1', 'p1', 'o1', 'x', '{}', '{}', '1.0.0', 'ready', '', 'pg', 'database/postgres', 'default'),
	('i2', 'cf',  's1', 'p2', 'o1', 'y', '{}', '{}', '', 'ready', 'over its quota', 'pg', 'database/postgres', 'b'),
	('i3', 'k8s', 's2', 'p3', '',   '',  '{}', '{}', '', 'create_failed', '', 'pg', 'database/postgres', 'b'),
	('i4', 'k8s', 's1', 'p1', '',   '',  '{}', '{}', '2.0.0', 'ready', '', 'pg', 'database/postgres', 'default');
insert into bindings (id, instance_id, platform, service_id, plan_id, app_id, bind_resource, context, parameters, status) values
	('b1', 'i1', 'cf', 's1', 'p1', '', '{}', '{}', '{}', 'ready'),
	('b2', 'i2', 'cf', 's1', 'p2', '', '{}', '{}', '{}', 'delete_failed'),
	('b4', 'i4', 'k8s', 's1', 'p1', '', '{}', '{}', '{}', 'ready');
insert into operations (id, kind, platform, instance_id, binding_id, service_id, plan_id, state, outcome, deadline) values
	('o1', 'bind', 'cf', 'i1', 'b1', 's1', 'p1', 'succeeded', 'succeeded', now()),
	('o2', 'unbind', 'cf', 'i2', 'b2', 's1', 'p2', 'failed', 'timed_out', now()),
	('o3', 'provision', 'k8s', 'i3', '', 's2', 'p3', 'failed', 'rejected', now()),
	('o4', 'update', 'k8s', 'i4', '', 's1', 'p1', 'failed', 'failed', now()),
	('o5', 'update', 'cf', 'i1', '', 's1', 'p1', 'in progress', '', now())`

// Filters select by what an operator knows: names of the catalog as well as IDs. No
// variable of the catalog is set.
func TestFilters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(path, []byte(filteredCatalog), 0o600); err != nil {
		t.Fatal(err)
	}
	state := embeddedtest.Database(t)
	for name, value := range map[string]string{"DATABASE_URL": state, "CHANDLER_CATALOG": path, "VAULT_ADDR": "", "CHANDLER_SEALED_KEY": ""} {
		t.Setenv(name, value)
	}
	if _, err := runVerb(t, "instances", "list"); !isUsage(err) || !strings.Contains(err.Error(), "chandler migrate") {
		t.Errorf("an empty state database: %v", err)
	}
	db, err := store.Open(t.Context(), state, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pool.Exec(context.Background(), filteredState); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"instances list", "i1 i2 i3 i4"},
		{"instances list --limit 3", "i1 i2 i3"},
		{"instances list --platform cf", "i1 i2"},
		{"instances list --organization o1 --space y", "i2"},
		{"instances list --service database", "i1 i2 i4"},
		{"instances list --service s2", "i3"},
		{"instances list --plan small", "i1 i3 i4"},
		{"instances list --plan small --service database", "i1 i4"},
		{"instances list --server pg", "i1 i4"},
		{"instances list --server pg/b", "i2 i3"},
		{"instances list --status create_failed", "i3"},
		{"instances list --condition", "i2"},
		{"instances list --behind", "i1"},
		{"instances list --platform nobody", ""},
		{"bindings list", "b1 b2 b4"},
		{"bindings list --limit 1", "b1"},
		{"bindings list --server pg/b", "b2"},
		{"bindings list --platform k8s --status ready", "b4"},
		{"bindings list --instance i1", "b1"},
		{"bindings list --organization o1 --plan large", "b2"},
		{"operations list", "o5 o4 o3 o2 o1"},
		{"operations list --limit 2", "o5 o4"},
		{"operations list --status failed", "o4 o3 o2"},
		{"operations list --unfinished", "o5"},
		{"operations list --server pg/b", "o3 o2"},
		{"operations list --space x", "o5 o1"},
		{"operations list --service other", "o3"},
		{"operations retry --all --dry-run", "o4 o2"},
		{"operations retry --platform cf", "o2"},
		{"operations list --unfinished --server pg/b", "o2"},
		{"operations retry --all --limit 1", "o4"},
		{"operations retry --all", ""}, // the rest is the user's, or has been retried
	} {
		var got []string
		for _, row := range verbJSON[[]struct{ ID string }](t, strings.Fields(c.args)...) {
			got = append(got, row.ID)
		}
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("chandler %s: %v, want %s", c.args, got, c.want)
		}
	}
	for _, args := range []string{
		"instances list --status broken", "operations retry", "operations retry o1 --platform cf", "operations retry --all --platform cf", "instances list --limit -1",
		"audit --action broken",
	} {
		if _, err := runVerb(t, strings.Fields(args)...); !isUsage(err) {
			t.Errorf("chandler %s: %v", args, err)
		}
	}
	out, err := runVerb(t, "instances", "list", "--behind")
	if err != nil || !strings.Contains(out, "1.0.0, behind 2.0.0") {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, err := runVerb(t, "instances", "list", "-o", "wide"); err != nil || !strings.Contains(out, "ORGANIZATION") || !strings.Contains(out, "o1") {
		t.Errorf("%v:\n%s", err, out)
	}
}
