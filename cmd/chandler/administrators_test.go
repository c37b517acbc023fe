package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// administratorsVerb runs "chandler administrators ..." with that on standard input.
func administratorsVerb(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	cmd := newAdministrators()
	var out bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// An administrator's password is replaced on the server and in the credential
// store, under traffic: the broker is not restarted and no operation fails.
func TestAdministratorsAreReplaced(t *testing.T) {
	tenants, err := url.Parse(embeddedtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	superuser, err := pgx.Connect(t.Context(), tenants.String())
	if err != nil {
		t.Fatal(err)
	}
	defer superuser.Close(context.WithoutCancel(t.Context()))
	statement := func(format string, args ...any) {
		t.Helper()
		if _, err := superuser.Exec(t.Context(), fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	role := "rotating_" + filepath.Base(tenants.Path)
	statement("CREATE ROLE %s LOGIN CREATEDB CREATEROLE PASSWORD 'the first one' IN ROLE pg_signal_backend, pg_read_all_stats", role)
	for _, database := range []string{filepath.Base(tenants.Path), "template1"} {
		statement("REVOKE CONNECT ON DATABASE %s FROM PUBLIC", database)
		statement("GRANT CONNECT ON DATABASE %s TO %s", database, role)
	}
	as := func(password string) string {
		u := *tenants
		u.User = url.UserPassword(role, password)
		return u.String()
	}
	catalogFile := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(catalogFile, []byte(tracedCatalog), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"DATABASE_URL": embeddedtest.Database(t), "CHANDLER_CATALOG": catalogFile, "CHANDLER_LISTEN": "127.0.0.1:0",
		"CHANDLER_USERNAME": "platform", "CHANDLER_PASSWORD": "the platform's password", "CHANDLER_OPERATOR_USERNAME": "operator",
		"CHANDLER_OPERATOR_PASSWORD": "the operator's password", "CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	t.Setenv("VAULT_ADDR", "")
	set := func(password string) {
		t.Helper()
		if out, err := administratorsVerb(t, as(password)+"\n", "set", "ADMIN_URL"); err != nil {
			t.Fatal(out, err)
		}
	}
	set("the first one")
	if out, err := administratorsVerb(t, "", "list"); err != nil || out != "ADMIN_URL\n" {
		t.Errorf("list: %q, %v", out, err)
	}

	address, log, stop := serving(t, environment)
	client, err := osbclient.New(osbclient.Options{URL: "http://" + address, Username: "platform", Password: "the platform's password"})
	if err != nil {
		t.Fatal(err)
	}
	service, plan := "5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1", "7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6"
	if _, err := client.Provision(t.Context(), "i", osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "o", SpaceGUID: "s"}); err != nil {
		t.Fatal(err)
	}
	var served atomic.Int64
	traffic, end := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for n := 0; traffic.Err() == nil; n++ {
			id := fmt.Sprintf("b%d", n)
			_, bound := client.Bind(t.Context(), "i", id, osbclient.BindRequest{ServiceID: service, PlanID: plan})
			_, unbound := client.Unbind(t.Context(), "i", id, osbclient.DeleteRequest{ServiceID: service, PlanID: plan})
			if bound != nil || unbound != nil {
				t.Errorf("binding %d: %v, %v", n, bound, unbound)
				return
			}
			served.Add(1)
		}
	})
	logged := func(words string) {
		t.Helper()
		for began := time.Now(); !strings.Contains(log.String(), words); time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				t.Fatalf("%q is not logged:\n%s", words, errorsOf(log.String()))
			}
		}
	}
	// The next start's catalog takes effect at the next start.
	next := strings.NewReplacer("postgres:", "another:", "backend: postgres", "backend: another").Replace(tracedCatalog)
	if err := os.WriteFile(catalogFile, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	// What does not work changes nothing.
	set("a wrong one")
	logged("administrators' credentials not replaced")
	statement("ALTER ROLE %s PASSWORD 'the second one'", role)
	statement("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'", role)
	set("the second one")
	logged(`"administrator's credentials replaced","backend":"postgres"`)
	before := served.Load()
	for began := time.Now(); served.Load() < before+5; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("nothing is served afterwards")
		}
	}
	end()
	group.Wait()
	stop()
	for _, secret := range []string{"the first one", "a wrong one", "the second one"} {
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), url.PathEscape(secret)) {
			t.Errorf("the log tells %q", secret)
		}
	}
}

// Without the value anywhere the catalog says so, and a store that is away is named.
func TestAdministratorsFaults(t *testing.T) {
	catalogFile := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(catalogFile, []byte(tracedCatalog), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(environment map[string]string) error {
		environment["CHANDLER_CATALOG"] = catalogFile
		s, err := readSettings(lookupIn(environment))
		if err != nil {
			t.Fatal(err)
		}
		s.Variables = server.NewVariables(s.Settings)
		defer s.Variables.Close()
		_, err = server.LoadCatalog(s.Settings)
		return err
	}
	for name, c := range map[string]struct {
		environment map[string]string
		want        []string
	}{
		"no store":      {map[string]string{}, []string{"ADMIN_URL is not set"}},
		"an empty one":  {map[string]string{"DATABASE_URL": embeddedtest.Database(t), "CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}, []string{"ADMIN_URL is not set"}},
		"one that away": {map[string]string{"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "t"}, []string{"ADMIN_URL is not set", "cannot be read: vault", "127.0.0.1:1"}},
	} {
		err := load(c.environment)
		for _, want := range c.want {
			if !isUsage(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	t.Setenv("DATABASE_URL", embeddedtest.Database(t))
	t.Setenv("CHANDLER_SEALED_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	t.Setenv("VAULT_ADDR", "")
	for _, args := range [][]string{{"set", "lower"}, {"set", "EMPTY"}, {"unset", "NOTHING"}, {"set"}} {
		if out, err := administratorsVerb(t, "", args...); !isUsage(err) {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
}

// errorsOf are the last lines of a log that tell of errors.
func errorsOf(log string) string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"ERROR"`) || strings.Contains(line, `"WARN"`) {
			found = append(found, line)
		}
	}
	return strings.Join(found[max(0, len(found)-6):], "")
}

// Two operators who set different variables at the same time both succeed.
func TestAdministratorsSetTogether(t *testing.T) {
	t.Setenv("DATABASE_URL", embeddedtest.Database(t))
	t.Setenv("VAULT_ADDR", "")
	t.Setenv("CHANDLER_SEALED_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	var want strings.Builder
	var group sync.WaitGroup
	for n := range 8 {
		name := fmt.Sprintf("URL_%d", n)
		want.WriteString(name + "\n")
		group.Go(func() {
			if out, err := administratorsVerb(t, "a value\n", "set", name); err != nil {
				t.Errorf("set %s: %s, %v", name, out, err)
			}
		})
	}
	group.Wait()
	if out, err := administratorsVerb(t, "", "list"); err != nil || out != want.String() {
		t.Errorf("list: %q, %v; want %q", out, err, want.String())
	}
}
