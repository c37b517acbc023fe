package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// A database that was there before the broker becomes an instance's, by the
// command's own words: first looked at, then taken over, and recorded.
func TestAdopt(t *testing.T) {
	tenants := embeddedtest.Database(t)
	superuser, err := pgx.Connect(t.Context(), tenants)
	if err != nil {
		t.Fatal(err)
	}
	defer superuser.Close(context.WithoutCancel(t.Context()))
	for _, statement := range []string{"CREATE ROLE old_owner", "CREATE DATABASE old_shop OWNER old_owner"} {
		if _, err := superuser.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	catalogFile := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(catalogFile, []byte(tracedCatalog), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"DATABASE_URL": embeddedtest.Database(t), "ADMIN_URL": tenants, "CHANDLER_CATALOG": catalogFile, "CHANDLER_LISTEN": "127.0.0.1:0",
		"CHANDLER_USERNAME": "platform", "CHANDLER_PASSWORD": "the platform's password", "VAULT_ADDR": "",
		"CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	address, _, _ := serving(t, environment)
	client, err := osbclient.New(osbclient.Options{URL: "http://" + address, Username: "platform", Password: "the platform's password"})
	if err != nil {
		t.Fatal(err)
	}
	service, plan := "5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1", "7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6"
	if _, err := client.Provision(t.Context(), "i", osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "o", SpaceGUID: "s"}); err != nil {
		t.Fatal(err)
	}
	adopt := func(want int, args ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"instances", "adopt"}, args...)); code != want {
			t.Errorf("adopt %v ends with %d, want %d", args, code, want)
		}
	}
	exists := func(name string) (there bool) {
		t.Helper()
		if err := superuser.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
			t.Fatal(err)
		}
		return there
	}
	adopt(exitUsage, "i")
	adopt(1, "nobody", "--resource", "old_shop")
	adopt(1, "i", "--resource", "nothing")
	adopt(0, "i", "--resource", "old_shop", "--dry-run")
	if _, err := client.Bind(t.Context(), "i", "b", osbclient.BindRequest{ServiceID: service, PlanID: plan}); err != nil {
		t.Fatal(err)
	}
	adopt(1, "i", "--resource", "old_shop") // it is bound
	if _, err := client.Unbind(t.Context(), "i", "b", osbclient.DeleteRequest{ServiceID: service, PlanID: plan}); err != nil {
		t.Fatal(err)
	}
	if !exists("old_shop") {
		t.Fatal("it was taken over although nothing should have been")
	}
	adopt(0, "i", "--resource", "old_shop")
	if exists("old_shop") {
		t.Error("it was not taken over")
	}
	bound, err := client.Bind(t.Context(), "i", "c", osbclient.BindRequest{ServiceID: service, PlanID: plan})
	if err != nil {
		t.Fatal(err)
	}
	uri, _ := bound.Credentials["uri"].(string)
	if _, err := url.Parse(uri); err != nil || uri == "" {
		t.Errorf("no uri: %v", err)
	}
	state, err := pgx.Connect(t.Context(), environment["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close(context.WithoutCancel(t.Context()))
	records := 0
	if err := state.QueryRow(t.Context(), "SELECT count(*) FROM audit WHERE action = 'adopt' AND instance_id = 'i' AND event = 'succeeded'").Scan(&records); err != nil || records != 1 {
		t.Errorf("%d records: %v", records, err)
	}
}
