package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// runVerb runs the command line and returns what it prints.
func runVerb(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root, out := newRoot(), bytes.Buffer{}
	root.SetArgs(args)
	root.SetOut(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// verbJSON runs the command line with -o json. A failure of the command is none of the
// test where there is an answer: orphans fails where it finds any.
func verbJSON[T any](t *testing.T, args ...string) (rows T) {
	t.Helper()
	out, err := runVerb(t, append(args, "-o", "json")...)
	if fault := json.Unmarshal([]byte(out), &rows); fault != nil {
		t.Fatalf("%v: %v, %v, %s", args, fault, err, out)
	}
	return rows
}

func mustVerb(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runVerb(t, args...)
	if err != nil {
		t.Fatalf("chandler %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// restored is a broker whose state is dumped, goes on, and is restored.
type restored struct {
	t           *testing.T
	environment map[string]string
	client      *osbclient.Client
	stop        func()
}

const (
	restoredService = "5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1"
	restoredPlan    = "7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6"
)

func newRestored(t *testing.T) *restored {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.yml")
	// A prefix of its own: other tests' databases on this server would be orphans.
	text := strings.Replace(tracedCatalog, `url: "${ADMIN_URL}"`, `url: "${ADMIN_URL}", prefix: rs`, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &restored{t: t, environment: map[string]string{
		"ADMIN_URL": embeddedtest.Database(t), "CHANDLER_CATALOG": path, "CHANDLER_LISTEN": "127.0.0.1:0",
		"CHANDLER_USERNAME": "platform", "CHANDLER_PASSWORD": "the platform's password", "VAULT_ADDR": "",
		"CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	}}
	return r
}

// start serves with the state in that database.
func (r *restored) start(url string) {
	r.t.Helper()
	r.environment["DATABASE_URL"] = url
	for name, value := range r.environment {
		r.t.Setenv(name, value)
	}
	address, _, stop := serving(r.t, r.environment)
	client, err := osbclient.New(osbclient.Options{URL: "http://" + address, Username: "platform", Password: "the platform's password"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.client, r.stop = client, stop
}

func (r *restored) provision(id string) {
	r.t.Helper()
	if _, err := r.client.Provision(r.t.Context(), id, osbclient.ProvisionRequest{
		ServiceID: restoredService, PlanID: restoredPlan, OrganizationGUID: "o", SpaceGUID: "s",
	}); err != nil {
		r.t.Fatal(err)
	}
}

// bind returns the URI of a new binding.
func (r *restored) bind(instance, id string) string {
	r.t.Helper()
	bound, err := r.client.Bind(r.t.Context(), instance, id, osbclient.BindRequest{ServiceID: restoredService, PlanID: restoredPlan})
	if err != nil {
		r.t.Fatal(err)
	}
	return bound.Credentials["uri"].(string)
}

// run executes a statement with a binding's credentials.
func (r *restored) run(uri, statement string) error {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), uri)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(r.t.Context()))
	_, err = conn.Exec(r.t.Context(), statement)
	return err
}

func (r *restored) program(name string, args ...string) {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// The procedure "Restore the broker's state" of the operator's guide: the state goes
// back to a dump, and is brought to agree with what the backend holds. No data is lost
// and no login of nobody's is left.
func TestRestoreState(t *testing.T) {
	for _, program := range []string{"pg_dump", "pg_restore"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	r := newRestored(t)
	state := embeddedtest.Database(t)
	r.start(state)
	deletion := osbclient.DeleteRequest{ServiceID: restoredService, PlanID: restoredPlan}
	r.provision("stays")
	r.provision("deleted-since")
	stays, unboundSince := r.bind("stays", "stays-b"), r.bind("stays", "unbound-since")
	dump := filepath.Join(t.TempDir(), "state.dump")
	r.program("pg_dump", "--format=custom", "--file="+dump, "--dbname="+state)

	// What happens after the dump.
	if _, err := r.client.Unbind(t.Context(), "stays", "unbound-since", deletion); err != nil {
		t.Fatal(err)
	}
	if _, err := r.client.Deprovision(t.Context(), "deleted-since", deletion); err != nil {
		t.Fatal(err)
	}
	boundSince := r.bind("stays", "bound-since")
	r.provision("made-since")
	madeSince := r.bind("made-since", "made-since-b")
	if err := r.run(madeSince, "create table orders as select 4711 as id"); err != nil {
		t.Fatal(err)
	}
	resource := madeSince[strings.LastIndex(madeSince, "/")+1:]
	resource, _, _ = strings.Cut(resource, "?")
	r.stop()

	again := embeddedtest.Database(t)
	r.program("pg_restore", "--no-owner", "--dbname="+again, dump)
	r.start(again)
	if err := r.run(unboundSince, "select"); err == nil {
		t.Error("a login that was revoked works")
	}
	found := verbJSON[[]orphan](t, "orphans")
	kinds := map[string]string{}
	for _, o := range found {
		kinds[string(o.Kind)+" "+o.InstanceID+"/"+o.BindingID] += o.Advice
		if o.Kind == operator.Missing && o.InstanceID == "stays" && (o.BindingID != "unbound-since" || strings.Contains(o.Advice, "instances forget")) {
			t.Errorf("a healthy instance is to be forgotten: %+v", o)
		}
	}
	for kind, advice := range map[string]string{
		"missing stays/unbound-since": "chandler bindings forget unbound-since --force",
		"missing deleted-since/":      "chandler instances forget deleted-since --force",
		"orphan /":                    "chandler instances adopt NEW-ID --resource " + resource,
	} {
		if !strings.Contains(kinds[kind], advice) {
			t.Errorf("%s: advice %q, want %q; all: %+v", kind, kinds[kind], advice, found)
		}
	}
	if orphans := slices.DeleteFunc(found, func(o orphan) bool { return o.Kind != operator.Orphan }); len(orphans) != 3 {
		t.Errorf("the database and the logins of two bindings are orphans; got %+v", orphans)
	}

	if _, err := runVerb(t, "bindings", "forget", "unbound-since"); !isUsage(err) {
		t.Errorf("forgotten without --force: %v", err)
	}
	mustVerb(t, "bindings", "forget", "unbound-since", "--force")
	mustVerb(t, "instances", "forget", "deleted-since", "--force")
	r.provision("new")
	mustVerb(t, "instances", "adopt", "new", "--resource", resource)
	mustVerb(t, "orphans", "--remove")
	if out := mustVerb(t, "orphans"); strings.Count(out, "\n") != 1 {
		t.Errorf("the state does not agree with the backend:\n%s", out)
	}

	if err := r.run(stays, "select"); err != nil {
		t.Errorf("the application that was bound all the time: %v", err)
	}
	for what, uri := range map[string]string{"bound since": boundSince, "of the adopted resource": madeSince} {
		if r.run(uri, "select") == nil {
			t.Errorf("the login %s, which the state does not know, still works", what)
		}
	}
	if err := r.run(r.bind("new", "new-b"), "select 1/(id-4710) from orders"); err != nil {
		t.Errorf("the data of the adopted resource: %v", err)
	}
	rows := verbJSON[[]operator.Instance](t, "instances", "list", "--resource", resource)
	if len(rows) != 1 || rows[0].ID != "new" {
		t.Errorf("the instance of %s: %+v", resource, rows)
	}
	var actions []string
	for _, entry := range verbJSON[[]store.Audit](t, "audit", "--actor", `"platform":"operator"`, "--since", "1h") {
		actions = append(actions, strings.Join([]string{string(entry.Action), string(entry.Event), entry.InstanceID, entry.BindingID}, " "))
	}
	slices.Sort(actions)
	want := []string{
		"adopt succeeded new ", "forget succeeded deleted-since ", "forget succeeded stays unbound-since",
		"remove accepted  ", "remove accepted  ", "remove succeeded  ", "remove succeeded  ",
	}
	if !slices.Equal(actions, want) {
		t.Errorf("recorded %q, want %q", actions, want)
	}
}
