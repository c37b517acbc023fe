package openstack

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"

	"github.com/chandler-broker/chandler/services"
)

// cloud is a cloud for tests.
type cloud struct {
	Config
	// admin is the cloud's administrator.
	admin *gophercloud.ServiceClient
}

// testCloud returns the cloud that runs on this machine.
// TODO: start it by package embedded, and fail instead of skipping if CI=true.
func testCloud(t *testing.T) cloud {
	t.Helper()
	address := os.Getenv("CHANDLER_TEST_KEYSTONE")
	if address == "" {
		address = "127.0.0.1:25500"
	}
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		t.Skip("no OpenStack runs on this machine")
	}
	_ = conn.Close()
	c := cloud{Config: Config{
		AuthURL: "http://" + address + "/v3", Domain: "chandler", Username: "chandler", Password: services.NewSecret("chandlerpw"),
		Interface: "public", MemberRole: "member", Prefix: "osdns",
	}}
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: c.AuthURL, Username: "admin", Password: "adminpw", DomainName: "Default", TenantName: "admin", AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	provider.HTTPClient = http.Client{Timeout: 30 * time.Second}
	c.admin = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: c.AuthURL + "/"}
	c.MemberRoleID = c.roleID(t, "member")
	return c
}

func (c cloud) roleID(t *testing.T, name string) string {
	t.Helper()
	pages, err := roles.List(c.admin, roles.ListOpts{Name: name}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := roles.ExtractRoles(pages)
	if err != nil || len(found) != 1 {
		t.Fatalf("role %s: %v %v", name, found, err)
	}
	return found[0].ID
}

var dnsService = Service{Name: "Designate", Types: []string{"dns"}, Kind: "test"}

func (c cloud) open(t *testing.T) *Cloud {
	t.Helper()
	opened, err := Open(c.Config, dnsService)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened
}

// project is an instance's project, which is deleted at the end of t.
func testProject(t *testing.T, c *Cloud) Project {
	t.Helper()
	instance := services.InstanceName(t.Name() + time.Now().String())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if p, err := c.FindProject(ctx, instance); err == nil {
			if err := c.DeleteProject(ctx, p); err != nil {
				t.Error(err)
			}
		}
	})
	p, err := c.EnsureProject(t.Context(), instance)
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
