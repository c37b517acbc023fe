package trove

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	cloudapi "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
)

// testCloud is a cloud for tests, behind one address.
type testCloud struct {
	address string
	// keystone and trove act as the cloud's administrator.
	keystone, trove *gophercloud.ServiceClient
	memberRole      string // its ID
}

// newCloud returns the cloud that runs on this machine.
// TODO: start it by package embedded, and fail instead of skipping if CI=true.
func newCloud(t testing.TB) *testCloud {
	t.Helper()
	keystone, trove := os.Getenv("CHANDLER_TEST_KEYSTONE"), os.Getenv("CHANDLER_TEST_TROVE")
	if keystone == "" {
		keystone, trove = "127.0.0.1:25500", "127.0.0.1:25504"
	}
	for _, address := range []string{keystone, trove} {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			t.Skip("no OpenStack runs on this machine")
		}
		_ = conn.Close()
	}
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: "http://" + keystone + "/v3", Username: "admin", Password: "adminpw", DomainName: "Default", TenantName: "admin", AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	provider.HTTPClient = http.Client{Timeout: 30 * time.Second}
	c := &testCloud{
		address:  openstacktest.Gateway(t, map[string]string{"v3": keystone, "v1.0": trove}),
		keystone: &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: "http://" + keystone + "/v3/"},
	}
	var found struct{ Roles []struct{ ID string } }
	c.ask(t, c.keystone, "roles?name=member", &found)
	if len(found.Roles) != 1 {
		t.Fatalf("roles of the name member: %d", len(found.Roles))
	}
	c.memberRole = found.Roles[0].ID
	var own struct{ Projects []struct{ ID, Name string } }
	c.ask(t, c.keystone, "auth/projects", &own)
	for _, p := range own.Projects {
		if p.Name == "admin" {
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
	brokerPassword = "chandlerpw"
	prefix         = "trove"
	suitePrefix    = "suite"
	// callBudget is how long a verb with everything that it waits for may take.
	callBudget = 3 * time.Minute
)

// config is the backend's configuration for the gateway, or for a proxy in front of it.
func (c *testCloud) config(address string) json.RawMessage { return c.configOf(address, prefix) }

func (c *testCloud) configOf(address, prefix string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"auth_url": "http://" + address + "/v3", "endpoint": "http://" + address + "/v1.0/%(project_id)s",
		"domain": "chandler", "username": "chandler", "password": brokerPassword, "member_role_id": c.memberRole, "prefix": prefix,
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
	return Plan{Datastore: "mysql", Version: "5.7.29", Flavor: "m1.tiny", Volume: services.Gigabyte}
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
