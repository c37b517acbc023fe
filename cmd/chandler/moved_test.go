package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// A plan with instances that moves to another backend, or whose backend changes
// its type, is refused by the check and at the start: the new backend would answer
// an unbind with success while the old login works.
func TestPlanMovedToAnotherBackend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(tracedCatalog)
	environment := map[string]string{
		"DATABASE_URL": embeddedtest.Database(t), "ADMIN_URL": embeddedtest.Database(t), "CHANDLER_CATALOG": path, "CHANDLER_LISTEN": "127.0.0.1:0",
		"CHANDLER_USERNAME": "platform", "CHANDLER_PASSWORD": "the platform's password", "VAULT_ADDR": "",
		"CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	address, _, stop := serving(t, environment)
	client, err := osbclient.New(osbclient.Options{URL: "http://" + address, Username: "platform", Password: "the platform's password"})
	if err != nil {
		t.Fatal(err)
	}
	service, plan := "5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1", "7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6"
	if _, err := client.Provision(t.Context(), "i", osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "o", SpaceGUID: "s"}); err != nil {
		t.Fatal(err)
	}
	stop()
	one := `postgres: {type: database/postgres, config: {url: "${ADMIN_URL}"}}`
	for _, c := range []struct{ name, catalog, want string }{
		{"nothing changed", tracedCatalog, ""},
		{
			"two backends of one type",
			strings.Replace(strings.Replace(tracedCatalog, one, one+"\n  new: {type: database/postgres, config: {url: \"${ADMIN_URL}\", prefix: n}}", 1), "backend: postgres}", "backend: new}", 1),
			`backends.new: 1 instance(s): made by backend "postgres" (database/postgres), but the catalog has their plan "small" on backend "new"`,
		},
		{
			"a backend of another type under the same name",
			strings.Replace(tracedCatalog, one, `postgres: {type: database/mysql, config: {url: "mysql://a:b@127.0.0.1:3306/c"}}`, 1),
			`backends.postgres: 1 instance(s): made by backend "postgres" when its type was database/postgres, but the catalog gives it type database/mysql`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(c.catalog)
			for _, args := range [][]string{{"catalog", "check"}, {"serve"}} {
				if c.want == "" && args[0] == "serve" {
					continue // it would serve
				}
				root, out := newRoot(), bytes.Buffer{}
				root.SetArgs(args)
				root.SetOut(&out)
				err := root.ExecuteContext(t.Context())
				if c.want == "" && err != nil || c.want != "" && (!isUsage(err) || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("chandler %s: %v, want %q", strings.Join(args, " "), err, c.want)
				}
			}
		})
	}
}
