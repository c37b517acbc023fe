package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/cfcredhub/credhubfake"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// With CredHub the platform sees no secret: the application, and nobody else,
// finds there what opens the database, as long as it is bound.
func TestCredHub(t *testing.T) {
	hub := credhubfake.Start(t)
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "catalog.yml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	delivered := strings.Replace(tracedCatalog, "services:", `
platforms:
  - {name: cf, username: cf, passwords: ["the platform's"], delivery: credhub-ref}
  - {name: other, username: other, passwords: ["the other's"]}
delivery:
  credhub-ref: {url: "`+hub.URL+`", ca_file: "`+hub.CAFile()+`", client_id: `+credhubfake.ClientID+`, client_secret: "${CREDHUB_SECRET}"}
services:`, 1)
	environment := map[string]string{
		"DATABASE_URL": embeddedtest.Database(t), "ADMIN_URL": embeddedtest.Database(t), "CHANDLER_CATALOG": write(delivered),
		"CHANDLER_LISTEN": "127.0.0.1:0", "CREDHUB_SECRET": credhubfake.ClientSecret,
		"CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
	}
	address, log, stop := serving(t, environment)
	client := func(username, password string) *osbclient.Client {
		c, err := osbclient.New(osbclient.Options{URL: "http://" + address, Username: username, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	cf, other := client("cf", "the platform's"), client("other", "the other's")
	service, plan := "5ac8a5b2-06d5-4a5c-9a9a-77c3b8a9f8f1", "7de0c9e1-0a5e-4c5f-8d3a-60c9ad43f5b6"
	for id, c := range map[string]*osbclient.Client{"i": cf, "j": other} {
		if _, err := c.Provision(t.Context(), id, osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "o", SpaceGUID: "s"}); err != nil {
			t.Fatal(err)
		}
	}
	inline, err := other.Bind(t.Context(), "j", "inline", osbclient.BindRequest{ServiceID: service, PlanID: plan, AppGUID: "an-app"})
	if err != nil || inline.Credentials["uri"] == nil {
		t.Errorf("the other platform gets %v, %v", inline.Credentials, err)
	}
	_, err = cf.Bind(t.Context(), "i", "nobody", osbclient.BindRequest{ServiceID: service, PlanID: plan})
	if err == nil || !strings.Contains(err.Error(), "credential_client_id") {
		t.Errorf("a service key that nobody could read: %v", err)
	}
	bound, err := cf.Bind(t.Context(), "i", "b", osbclient.BindRequest{ServiceID: service, PlanID: plan, AppGUID: "an-app"})
	if err != nil {
		t.Fatal(err)
	}
	reference, _ := bound.Credentials[credhub.CredHubRef].(string)
	if len(bound.Credentials) != 1 || reference != "/c/chandler/i/b/credentials" {
		t.Fatalf("credentials: %v", bound.Credentials)
	}
	if _, ok := hub.Read(reference, "another-app", ""); ok {
		t.Error("another application reads it")
	}
	value, ok := hub.Read(reference, "an-app", "")
	var credentials struct{ URI, Password string }
	if err := json.Unmarshal(value, &credentials); err != nil || !ok {
		t.Fatalf("the application reads %v, %v", ok, err)
	}
	connection, err := pgx.Connect(t.Context(), credentials.URI)
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close(t.Context())
	for _, secret := range []string{credentials.Password, credhubfake.ClientSecret} {
		if strings.Contains(log.String(), secret) {
			t.Error("the log tells a secret")
		}
	}
	stop()

	// What was delivered has to be withdrawn, so the way there stays set up.
	s, err := readSettings(lookupIn(environment))
	if err != nil {
		t.Fatal(err)
	}
	s.CatalogPath = write(strings.Replace(tracedCatalog, "services:", "platforms: [{name: cf, username: cf, passwords: [\"the platform's\"]}]\nservices:", 1))
	if _, err := server.Open(t.Context(), s.Settings, slog.New(slog.DiscardHandler), server.Needs{Credentials: true}); !isUsage(err) || !strings.Contains(err.Error(), "1 bindings are delivered by credhub-ref") {
		t.Errorf("without the delivery: %v", err)
	}

	address, _, _ = serving(t, environment)
	if _, err := client("cf", "the platform's").Unbind(t.Context(), "i", "b", osbclient.DeleteRequest{ServiceID: service, PlanID: plan}); err != nil {
		t.Fatal(err)
	}
	if credentials, permissions := hub.Held(); credentials+permissions != 0 {
		t.Errorf("%d credentials and %d permissions are left", credentials, permissions)
	}
}

func TestDeliveryFaults(t *testing.T) {
	for name, c := range map[string]struct{ delivery, want string }{
		"CredHub over HTTP":       {`credhub-ref: {url: "http://credhub", client_id: a, client_secret: b}`, "delivery: credhub: url: must be https"},
		"applications, no Vault":  {`vault-ref: {kubernetes: {mount: kubernetes, role: apps}}`, "vault-ref needs Vault"},
		"CredHub, no credentials": {`credhub-ref: {url: "https://credhub"}`, "needs either certificate_file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.yml")
			if err := os.WriteFile(path, []byte("delivery:\n  "+c.delivery+"\nservices: []\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := readSettings(lookupIn(map[string]string{
				"DATABASE_URL": embeddedtest.Database(t), "CHANDLER_CATALOG": path, "CHANDLER_SEALED_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
			}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := server.Open(t.Context(), s.Settings, slog.New(slog.DiscardHandler), server.Needs{Migrate: true, Credentials: true}); !isUsage(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
