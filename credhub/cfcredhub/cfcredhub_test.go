package cfcredhub_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/cfcredhub"
	"github.com/chandler-broker/chandler/credhub/cfcredhub/credhubfake"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/services"
)

func withClient(s *credhubfake.Server) cfcredhub.Config {
	return cfcredhub.Config{URL: s.URL, CAFile: s.CAFile(), ClientID: credhubfake.ClientID, ClientSecret: services.NewSecret(credhubfake.ClientSecret)}
}

func withCertificate(s *credhubfake.Server) cfcredhub.Config {
	certificate, key := s.BrokerCertificate()
	return cfcredhub.Config{URL: s.URL + "/", CAFile: s.CAFile(), CertificateFile: certificate, KeyFile: key, Prefix: credhubfake.Prefix}
}

func open(t *testing.T, c cfcredhub.Config) *cfcredhub.Delivery {
	t.Helper()
	s, err := cfcredhub.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The suite runs with both identities of the broker, for applications and for service keys.
func TestSuite(t *testing.T) {
	for name, config := range map[string]func(*credhubfake.Server) cfcredhub.Config{"UAA client": withClient, "mutual TLS": withCertificate} {
		for kind, reader := range map[string]func() credhub.Reader{
			"application": func() credhub.Reader {
				return credhub.Reader{InstanceID: rand.Text(), BindingID: rand.Text(), AppID: rand.Text()}
			},
			"service key": func() credhub.Reader {
				return credhub.Reader{InstanceID: rand.Text(), BindingID: rand.Text(), ClientID: rand.Text()}
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := credhubfake.Start(t)
				credtest.RunDelivery(t, credtest.Deliveries{
					Open:   func(t *testing.T) credhub.Delivery { return open(t, config(s)) },
					Reader: reader,
					Read: func(_ *testing.T, reference map[string]any, as credhub.Reader) (json.RawMessage, bool) {
						return s.Read(fmt.Sprint(reference[credhub.CredHubRef]), as.AppID, as.ClientID)
					},
				})
			})
		}
	}
}

var (
	reader = credhub.Reader{InstanceID: "instance", BindingID: "binding", AppID: "app-guid", ClientID: "cc_service_key_client"}
	value  = json.RawMessage(`{"password":"a-secret"}`)
)

// An unbind leaves no permission either, which would let the application read a later
// credential of the same name.
func TestNothingIsLeft(t *testing.T) {
	s := credhubfake.Start(t)
	d := open(t, withClient(s))
	if err := d.Deliver(t.Context(), reader, value); err != nil {
		t.Fatal(err)
	}
	if credentials, permissions := s.Held(); credentials != 1 || permissions != 2 {
		t.Errorf("%d credentials, %d permissions, want 1 and 2", credentials, permissions)
	}
	if err := d.Withdraw(t.Context(), reader); err != nil {
		t.Fatal(err)
	}
	if credentials, permissions := s.Held(); credentials+permissions != 0 {
		t.Errorf("%d credentials, %d permissions are left", credentials, permissions)
	}
}

// No error of CredHub counts as success, and no error contains the secret.
func TestErrors(t *testing.T) {
	s := credhubfake.Start(t)
	d := open(t, withClient(s))
	check := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "a-secret") || strings.Contains(err.Error(), credhubfake.ClientSecret) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	for _, status := range []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusTeapot} {
		s.Fail(status)
		check("Deliver", d.Deliver(t.Context(), reader, value), fmt.Sprint(status))
		check("Withdraw", d.Withdraw(t.Context(), reader), fmt.Sprint(status))
		check("Ready", d.Ready(t.Context()), fmt.Sprint(status))
	}
	s.Fail(0)
	s.Restrict("read")
	check("without write", d.Deliver(t.Context(), reader, value), "does not allow it")
	s.Restrict("read", "write")
	check("without write_acl", d.Deliver(t.Context(), reader, value), "let mtls-app:app-guid read")
	s.Restrict("read", "write", "write_acl", "read_acl")
	if err := d.Deliver(t.Context(), reader, value); err != nil {
		t.Fatal(err)
	}
	check("without delete", d.Withdraw(t.Context(), reader), "lacks the permission delete")
	large := json.RawMessage(`{"x":"` + strings.Repeat("a", 70_000) + `"}`)
	check("too large", d.Deliver(t.Context(), reader, large), "too large")
	wrong := withClient(s)
	wrong.ClientSecret = services.NewSecret("another")
	check("wrong secret", open(t, wrong).Ready(t.Context()), "the UAA refuses the client chandler")
	s.Close()
	check("away", d.Ready(t.Context()), "does not answer")
}

// A refused token is replaced once.
func TestRevokedToken(t *testing.T) {
	s := credhubfake.Start(t)
	d := open(t, withClient(s))
	for range 3 {
		if err := d.Deliver(t.Context(), reader, value); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Logins(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
	s.Revoke()
	if err := d.Deliver(t.Context(), reader, value); err != nil || s.Logins() != 2 {
		t.Errorf("Deliver: %v after %d logins, want 2", err, s.Logins())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.Revoke()
	if err := d.Deliver(ended, reader, value); err == nil {
		t.Error("Deliver succeeds with an ended context")
	}
}

func TestConfigFaults(t *testing.T) {
	s := credhubfake.Start(t)
	for _, c := range []struct {
		change func(*cfcredhub.Config)
		want   string
	}{
		{func(c *cfcredhub.Config) { c.URL = "http://credhub:8844" }, "url: must be https://"},
		{func(c *cfcredhub.Config) { c.URL = "https://credhub:8844/api" }, "url"},
		{func(c *cfcredhub.Config) { c.Prefix = "c/chandler" }, "prefix"},
		{func(c *cfcredhub.Config) { c.Prefix = "/c/../*" }, "prefix"},
		{func(c *cfcredhub.Config) { c.CAFile = "/none.pem" }, "ca_file"},
		{func(c *cfcredhub.Config) { c.CAFile = "cfcredhub_test.go" }, "is not a certificate in PEM"},
		{func(c *cfcredhub.Config) { c.KeyFile = "" }, "certificate_file and key_file: set both"},
		{func(c *cfcredhub.Config) { c.CertificateFile, c.KeyFile = "/none", "/none" }, "certificate_file"},
		{func(c *cfcredhub.Config) { c.ClientID = "both" }, "client_id and client_secret: set both"},
		{func(c *cfcredhub.Config) { c.ClientID, c.ClientSecret = "both", services.NewSecret("s") }, "either"},
		{func(c *cfcredhub.Config) { c.CertificateFile, c.KeyFile = "", "" }, "either"},
	} {
		config := withCertificate(s)
		c.change(&config)
		if _, err := cfcredhub.New(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
