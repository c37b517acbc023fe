package designate

import (
	"context"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	cloud "github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	shared "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil { // Designate makes one zone at a time
		panic(err)
	}
	embeddedtest.Main(m)
}

// testServer is a real cloud, in front of which a gateway makes Keystone and Designate one server.
type testServer struct {
	*cloud.Cloud
	gateway string // host:port
	// admin is a client of Keystone, and dnsAdmin of Designate, of the cloud's administrator.
	admin, dnsAdmin *gophercloud.ServiceClient
}

const (
	prefix      = "test"
	suitePrefix = "suite"
	parent      = "apps.test"
	suiteParent = "suite.test"
)

func newServer(t *testing.T) *testServer {
	t.Helper()
	return newServerOn(t, embeddedtest.OpenStack(t, cloud.DNS))
}

func newServerOn(t *testing.T, c *cloud.Cloud) *testServer {
	t.Helper()
	s := &testServer{Cloud: c, gateway: openstacktest.Gateway(t, map[string]string{"v3": hostOf(c.Identity.AuthURL()), "v2": hostOf(c.DNS.URL())})}
	account := c.Identity.Admin()
	provider, err := openstack.AuthenticatedClient(testContext(t), gophercloud.AuthOptions{
		IdentityEndpoint: c.Identity.AuthURL(), Username: account.Name, Password: account.Password, DomainName: account.Domain,
		Scope: &gophercloud.AuthScope{ProjectName: account.Project, DomainName: account.Domain}, AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.admin = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: c.Identity.AuthURL() + "/"}
	s.dnsAdmin = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: c.DNS.URL() + "/v2/", MoreHeaders: map[string]string{"X-Auth-All-Projects": "true"}}
	return s
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// proxied is the backend's configuration for the cloud at address.
func (s *testServer) proxied(address string) json.RawMessage { return s.configOf(address, prefix) }

func (s *testServer) configOf(address, prefix string) json.RawMessage {
	account := s.Identity.Broker()
	host, port, err := net.SplitHostPort(s.DNS.NameServer.Address())
	if err != nil {
		panic(err)
	}
	raw, err := json.Marshal(map[string]any{
		"auth_url": "http://" + address + "/v3", "public_auth_url": s.Identity.AuthURL(), "endpoint": "http://" + address,
		"domain": account.Domain, "username": account.Name, "password": account.Password, "member_role_id": s.Identity.MemberRoleID(),
		"host": host, "port": json.Number(port), "prefix": prefix, "token_cache_time": -1,
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) backend(t *testing.T) *backend { return s.backendAt(t, s.gateway) }

func (s *testServer) backendAt(t *testing.T, address string) *backend {
	t.Helper()
	config, err := services.Decode[Config](s.proxied(address))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// leftOf asks the cloud's administrator for what belongs to an instance or its bindings: projects,
// users and zones, of any project.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	return s.find(ctx, func(name string) bool {
		return slices.ContainsFunc(append(bindings[:len(bindings):len(bindings)], instance), func(mine string) bool { return strings.Contains(name, mine) })
	})
}

// find lists the projects, users and zones with some names.
func (s *testServer) find(ctx context.Context, wanted func(name string) bool) (all []string, err error) {
	for _, list := range []struct {
		client    *gophercloud.ServiceClient
		key, path string
	}{{s.admin, "projects", "projects"}, {s.admin, "users", "users"}, {s.dnsAdmin, "zones", "zones?limit=1000"}} {
		var answer map[string]json.RawMessage
		if err := shared.Call(ctx, list.client, http.MethodGet, list.client.Endpoint+list.path, nil, &answer); err != nil {
			return nil, err
		}
		var found []struct{ Name string }
		if err := json.Unmarshal(answer[list.key], &found); err != nil {
			return nil, err
		}
		for _, f := range found {
			if wanted(f.Name) {
				all = append(all, list.key+" "+f.Name)
			}
		}
	}
	return all, nil
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func newInstance(t *testing.T, id string, change func(*instance)) instance {
	inst := instance{ID: t.Name() + id}
	inst.Name = services.InstanceName(inst.ID)
	inst.Plan.SetDefaults()
	inst.Plan.Parents = []string{parent}
	if change != nil {
		change(&inst)
	}
	return inst
}

// provisioned makes an instance, which is deleted at the end of t.
func provisioned(t *testing.T, b *backend, id string, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(t, id, change)
	t.Cleanup(func() {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatalf("provision: %v", err)
	}
	return inst
}

// bound makes a binding and returns its credentials.
func bound(t *testing.T, b *backend, inst instance, id string, role access.Role) map[string]any {
	t.Helper()
	binding := services.Binding[BindingParams]{ID: id, Name: services.BindingName(inst.ID, id), Params: BindingParams{Role: role}, Seed: newSeed(t)}
	c, err := servicetest.Patient(b).Bind(testContext(t), inst, binding)
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	return c.Values
}

func dialled(t *testing.T, values map[string]any) *session {
	t.Helper()
	s, err := dial(testContext(t), values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	return s.(*session)
}

func newSeed(t *testing.T) *services.Seed {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return seed
}
