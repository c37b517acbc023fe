package openstack

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	embedded "github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// cloud is a real cloud for tests.
type cloud struct {
	*embedded.Cloud
	// admin is a client of Keystone of the cloud's administrator.
	admin *gophercloud.ServiceClient
}

func newCloud(t *testing.T) cloud {
	t.Helper()
	c := embeddedtest.OpenStack(t, embedded.DNS)
	account := c.Identity.Admin()
	provider, err := openstack.AuthenticatedClient(testContext(t), gophercloud.AuthOptions{
		IdentityEndpoint: c.Identity.AuthURL(), Username: account.Name, Password: account.Password, DomainName: account.Domain,
		Scope: &gophercloud.AuthScope{ProjectName: account.Project, DomainName: account.Domain}, AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cloud{c, &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: c.Identity.AuthURL() + "/"}}
}

// config is the configuration for the broker's account.
func (c cloud) config() Config {
	account := c.Identity.Broker()
	return Config{
		AuthURL: c.Identity.AuthURL(), Domain: account.Domain, Username: account.Name, Password: services.NewSecret(account.Password),
		Interface: "public", MemberRole: "member", MemberRoleID: c.Identity.MemberRoleID(), Prefix: "test",
	}
}

var testService = Service{Name: "Designate", Types: []string{"dns"}, Kind: "dns"}

func open(t *testing.T, config Config) *Cloud {
	t.Helper()
	opened, err := Open(config, testService)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened
}

// call calls Keystone as the cloud's administrator.
func (c cloud) call(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	if err := Call(testContext(t), c.admin, method, c.admin.Endpoint+path, body, answer); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// role is a role's ID.
func (c cloud) role(t *testing.T, name string) string {
	t.Helper()
	var answer struct{ Roles []entity }
	c.call(t, http.MethodGet, "roles?name="+name, nil, &answer)
	if len(answer.Roles) != 1 {
		t.Fatalf("role %s: %v", name, answer.Roles)
	}
	return answer.Roles[0].ID
}

// account makes another account for the broker, until the end of t.
func (c cloud) account(t *testing.T, name, password string) (id string, config Config) {
	t.Helper()
	var answer struct{ User entity }
	c.call(t, http.MethodPost, "users", object("user", map[string]any{"name": name, "password": password, "domain_id": c.Identity.DomainID()}), &answer)
	t.Cleanup(func() { c.call(t, http.MethodDelete, "users/"+answer.User.ID, nil, nil) })
	c.call(t, http.MethodPut, "domains/"+c.Identity.DomainID()+"/users/"+answer.User.ID+"/roles/"+c.role(t, "chandler_broker"), nil, nil)
	config = c.config()
	config.Username, config.Password = name, services.NewSecret(password)
	return answer.User.ID, config
}

// project makes an instance's project, which is deleted at the end of t.
func project(t *testing.T, c *Cloud) Project {
	t.Helper()
	instance := services.InstanceName(t.Name())
	t.Cleanup(func() {
		p, err := c.FindProject(testContext(t), instance)
		if err == nil {
			err = c.DeleteProject(testContext(t), p)
		}
		if err != nil && err.Error() != ErrNoProject.Error() {
			t.Error(err)
		}
	})
	p, err := c.EnsureProject(testContext(t), instance)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func seed(t *testing.T) *services.Seed {
	t.Helper()
	s, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// reading are access rules to read zones.
func reading(c *Cloud) func(*gophercloud.ServiceClient) ([]AccessRule, error) {
	return func(*gophercloud.ServiceClient) ([]AccessRule, error) {
		return []AccessRule{c.Rule(http.MethodGet, "/v2/zones")}, nil
	}
}

// writing are access rules to read and write.
func writing(c *Cloud) func(*gophercloud.ServiceClient) ([]AccessRule, error) {
	return func(*gophercloud.ServiceClient) ([]AccessRule, error) {
		return []AccessRule{c.Rule(http.MethodGet, "/v2/zones"), c.Rule(http.MethodPost, "/v2/zones/x/recordsets")}, nil
	}
}
