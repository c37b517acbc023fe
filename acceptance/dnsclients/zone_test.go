// Package dnsclients_test uses the credentials of dns/designate with the programs that applications
// have: lego gets certificates from a strict ACME server, and external-dns publishes names.
package dnsclients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/designate"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// zone is an instance of dns/designate, with a name server that has its records.
type zone struct {
	name, server string
	driver       *servicetest.Driver
	instance     services.RawInstance
}

// newZone makes a zone until the end of t.
func newZone(t *testing.T) *zone {
	t.Helper()
	cloud := embeddedtest.OpenStack(t, openstack.DNS)
	driver, err := servicetest.Open(t.Context(), designate.Definition(), configuration(t, cloud))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	name := strings.ToLower(t.Name()) + ".clients.test"
	z := &zone{name, cloud.DNS.NameServer.Address(), driver, driver.Instance(t.Name(),
		json.RawMessage(`{"parents": ["clients.test"]}`), json.RawMessage(fmt.Sprintf(`{"zone": %q}`, name)))}
	t.Cleanup(func() {
		err := servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error { return driver.Deprovision(ctx, z.instance) })
		if err != nil {
			t.Errorf("deprovision: %v", err)
		}
	})
	if err := servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error { return driver.Provision(ctx, z.instance) }); err != nil {
		t.Fatal(err)
	}
	return z
}

func configuration(t *testing.T, cloud *openstack.Cloud) json.RawMessage {
	t.Helper()
	account := cloud.Identity.Broker()
	host, port, err := net.SplitHostPort(cloud.DNS.NameServer.Address())
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"auth_url": cloud.Identity.AuthURL(), "domain": account.Domain, "username": account.Name, "password": account.Password,
		"member_role_id": cloud.Identity.MemberRoleID(), "host": host, "port": json.Number(port), "prefix": "clients", "token_cache_time": -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// bind returns the credentials of a binding.
func (z *zone) bind(t *testing.T, id, params string) map[string]any {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	var credentials services.Credentials
	err = servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error {
		credentials, err = z.driver.Bind(ctx, z.instance, services.RawBinding{ID: id, Params: json.RawMessage(params), Seed: seed})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return credentials.Values
}

// variables gives this process the credentials as the README says for lego and external-dns.
func variables(t *testing.T, credentials map[string]any) {
	t.Helper()
	for variable, key := range map[string]string{
		"OS_AUTH_URL": "auth_url", "OS_APPLICATION_CREDENTIAL_ID": "application_credential_id",
		"OS_APPLICATION_CREDENTIAL_SECRET": "application_credential_secret", "OS_REGION_NAME": "region",
	} {
		t.Setenv(variable, fmt.Sprint(credentials[key]))
	}
}

// cloudsFile gives this process the credentials in a file, as the README says.
func cloudsFile(t *testing.T, credentials map[string]any) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(file, []byte(fmt.Sprint(credentials["clouds_yaml"])), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", file)
	t.Setenv("OS_CLOUD", "chandler")
}

// answers are the values that the name server has for a name, without those of other types.
func (z *zone) answers(t *testing.T, name string, kind uint16) []string {
	t.Helper()
	answer, err := dns.ExchangeContext(testContext(t), new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), z.server)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, r := range answer.Answer {
		if r.Header().Rrtype == kind {
			values = append(values, strings.TrimPrefix(r.String(), r.Header().String()))
		}
	}
	return values
}

// await fails t unless the name server soon has a value, or with an empty one no value, for a name.
func (z *zone) await(t *testing.T, name string, kind uint16, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = strings.Join(z.answers(t, name, kind), " "); got == want {
			return
		}
	}
	t.Errorf("%s is %q, want %q", name, got, want)
}
