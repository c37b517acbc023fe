package trove

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	cloud "github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	cloudapi "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
)

// testCloud is a real cloud, in front of which a gateway makes Keystone and Trove one server.
type testCloud struct {
	*cloud.Cloud
	address string
	// keystone and trove act as the cloud's administrator.
	keystone, trove *gophercloud.ServiceClient
}

func newCloud(t testing.TB) *testCloud {
	t.Helper()
	running := embeddedtest.OpenStack(t, cloud.Databases)
	keystone, trove := parsed(t, running.Identity.AuthURL()).Host, parsed(t, running.Databases.URL()).Host
	account := running.Identity.Admin()
	provider, err := openstack.AuthenticatedClient(testContext(t), gophercloud.AuthOptions{
		IdentityEndpoint: running.Identity.AuthURL(), Username: account.Name, Password: account.Password, DomainName: account.Domain,
		Scope: &gophercloud.AuthScope{ProjectName: account.Project, DomainName: account.Domain}, AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	provider.HTTPClient = http.Client{Timeout: 30 * time.Second}
	c := &testCloud{
		Cloud:    running,
		address:  openstacktest.Gateway(t, map[string]string{"v3": keystone, "v1.0": trove}),
		keystone: &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: "http://" + keystone + "/v3/"},
	}
	var own struct{ Projects []struct{ ID, Name string } }
	c.ask(t, c.keystone, "auth/projects", &own)
	for _, p := range own.Projects {
		if p.Name == account.Project {
			c.trove = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: "http://" + trove + "/v1.0/" + p.ID + "/"}
		}
	}
	return c
}

// ask asks as the administrator.
func (c *testCloud) ask(t testing.TB, client *gophercloud.ServiceClient, path string, answer any) {
	t.Helper()
	if err := cloudapi.Call(t.Context(), client, http.MethodGet, client.Endpoint+path, nil, answer); err != nil {
		t.Fatal(err)
	}
}

const (
	prefix      = "trove"
	suitePrefix = "suite"
	// callBudget is how long a verb with everything that it waits for may take.
	callBudget = 3 * time.Minute
)

// config is the backend's configuration for the gateway, or for a proxy in front of it.
func (c *testCloud) config(address string) json.RawMessage { return c.configOf(address, prefix) }

func (c *testCloud) configOf(address, prefix string) json.RawMessage {
	account := c.Identity.Broker()
	raw, err := json.Marshal(map[string]any{
		"auth_url": "http://" + address + "/v3", "endpoint": "http://" + address + "/v1.0/%(project_id)s",
		"domain": account.Domain, "username": account.Name, "password": account.Password, "member_role_id": c.Identity.MemberRoleID(), "prefix": prefix,
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (c *testCloud) backend(t testing.TB, change func(*Config)) *backend {
	t.Helper()
	return c.backendAt(t, c.address, change)
}

// backendAt is a backend whose cloud has this address.
func (c *testCloud) backendAt(t testing.TB, address string, change func(*Config)) *backend {
	t.Helper()
	config, err := services.Decode[Config](c.config(address))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&config)
	}
	b, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// left lists, as the administrator, the projects, users and servers whose names contain a text.
func (c *testCloud) left(ctx context.Context, text string) ([]string, error) {
	var left []string
	for _, l := range []struct {
		client *gophercloud.ServiceClient
		key    string
	}{{c.keystone, "projects"}, {c.keystone, "users"}, {c.trove, "mgmt/instances?deleted=false"}} {
		var answer map[string]json.RawMessage
		if err := cloudapi.Call(ctx, l.client, http.MethodGet, l.client.Endpoint+l.key, nil, &answer); err != nil {
			return nil, err
		}
		key, _, _ := strings.Cut(strings.TrimPrefix(l.key, "mgmt/"), "?")
		var list []struct{ Name, Status string }
		if err := json.Unmarshal(answer[key], &list); err != nil {
			return nil, err
		}
		for _, item := range list {
			if strings.Contains(item.Name, text) {
				left = append(left, key+" "+item.Name+" "+item.Status)
			}
		}
	}
	return left, nil
}

func (c *testCloud) nothingLeft(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // cleanups call after t's context ended
	defer cancel()
	left, err := c.left(ctx, text)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the cloud: %v, %v", left, err)
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func testPlan() Plan {
	return Plan{Datastore: cloud.Datastore, Version: cloud.DatastoreVersion, Flavor: "m1.tiny", Volume: services.Gigabyte}
}

func newInstance(t testing.TB, id string) instance {
	id += t.Name() + time.Now().String()
	return instance{ID: id, Name: services.InstanceName(id), Plan: testPlan()}
}

func newBinding(t testing.TB, inst instance, id string) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName(inst.ID, id), Params: BindingParams{Role: access.ReadWrite}, Seed: seed}
}

// client is an application's session.
type client struct{ *database.Session }

func dial(t testing.TB, c services.Credentials) (*client, error) {
	t.Helper()
	s, err := mysqldb.Dial(testContext(t), c.Values)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = s.Close() })
	return &client{s.(*database.Session)}, nil
}

func dialled(t testing.TB, c services.Credentials) *client {
	t.Helper()
	s, err := dial(t, c)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	return s
}

func (c *client) run(t testing.TB, statements ...string) error {
	t.Helper()
	for _, statement := range statements {
		if _, err := c.Conn.ExecContext(testContext(t), statement); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) must(t testing.TB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := c.run(t, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (c *client) ask(t testing.TB, query string) string {
	t.Helper()
	var text string
	if err := c.Conn.QueryRowContext(testContext(t), query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

func parsed(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
