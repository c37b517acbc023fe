package manila

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/sharetypes"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	embeddedcloud "github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	openstackapi "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The tests mostly wait for servers.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	embeddedtest.Main(m)
}

// testCloud is a cloud with Keystone, Manila and Ceph.
type testCloud struct {
	*embeddedcloud.Cloud
	keystone, manila string // host:port
	front            string // host:port of both
	broker           embeddedcloud.Account
	// identity and admin act as the cloud's administrator.
	identity, admin *gophercloud.ServiceClient
}

const suitePrefix = "suite"

// The tests' share types.
const (
	typeCephFS = embeddedcloud.CephFS
	typeDummy  = embeddedcloud.NFS
)

// newCloud returns this test process's cloud, whose programs are in PATH.
func newCloud(t testing.TB) *testCloud {
	t.Helper()
	running := embeddedtest.OpenStack(t, embeddedcloud.Shares)
	if path := os.Getenv("PATH"); !strings.HasPrefix(path, running.Programs()) {
		if err := os.Setenv("PATH", running.Programs()+":"+path); err != nil { // t.Setenv forbids parallel tests
			t.Fatal(err)
		}
	}
	admin := running.Identity.Admin()
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: running.Identity.AuthURL(), Username: admin.Name, Password: admin.Password,
		DomainName: admin.Domain, TenantName: admin.Project, AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	provider.HTTPClient = http.Client{Timeout: time.Minute}
	c := &testCloud{
		Cloud: running, broker: running.Identity.Broker(),
		keystone: hostOf(t, running.Identity.AuthURL()), manila: hostOf(t, running.Shares.URL()),
		identity: &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: running.Identity.AuthURL() + "/"},
		admin:    &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: running.Shares.URL() + "/", Type: "sharev2", Microversion: "2.45"},
	}
	c.front = openstacktest.Gateway(t, map[string]string{"v3": c.keystone, "v2": c.manila})
	return c
}

func hostOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// shareType makes a share type on a back end unless it exists.
func (c *testCloud) shareType(t testing.TB, name, backEnd string, public bool) {
	t.Helper()
	pages, err := sharetypes.List(c.admin, sharetypes.ListOpts{IsPublic: "all"}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := sharetypes.ExtractShareTypes(pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Name == name {
			return
		}
	}
	err = openstackapi.Call(t.Context(), c.admin, http.MethodPost, c.admin.ServiceURL("types"), map[string]any{"share_type": map[string]any{
		"name": name, "share_type_access:is_public": public,
		"extra_specs": map[string]string{"driver_handles_share_servers": "False", "share_backend_name": backEnd, "snapshot_support": "True"},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// config is the backend's configuration for reaching the cloud at address.
func (c *testCloud) config(prefix, address string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"auth_url": "http://" + address + "/v3", "endpoint": "http://" + address + "/v2", "domain": c.broker.Domain,
		"username": c.broker.Name, "password": c.broker.Password, "member_role_id": c.Identity.MemberRoleID(), "prefix": prefix, "csi_cluster_id": "ceph",
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (c *testCloud) backend(t testing.TB, prefix string) *backend {
	t.Helper()
	return openBackend(t, c.config(prefix, c.front))
}

func openBackend(t testing.TB, raw json.RawMessage) *backend {
	t.Helper()
	config, err := services.Decode[Config](raw)
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

// newClientCloud is newCloud for a test that mounts shares.
func newClientCloud(t testing.TB) *testCloud {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil || os.Geteuid() != 0 {
		t.Skip("only root can mount, and needs /dev/fuse")
	}
	_ = f.Close()
	return newCloud(t)
}

// ceph runs a command as Ceph's administrator.
func ceph(ctx context.Context, arguments ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ceph", arguments...).Output()
	return string(out), err
}

// leftOf lists what the cloud's administrator finds of an instance and its bindings.
func (c *testCloud) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	var left []string
	pages, err := projects.List(c.identity, projects.ListOpts{}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	all, err := projects.ExtractProjects(pages)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if strings.Contains(p.Name, instance) {
			left = append(left, "project "+p.Name)
		}
	}
	found, err := c.sharesOf(ctx, instance)
	for _, s := range found {
		left = append(left, fmt.Sprintf("share %s (%s)", s.ID, s.Status))
	}
	if err != nil {
		return nil, err
	}
	identities, err := ceph(ctx, "auth", "ls")
	for _, b := range bindings {
		if strings.Contains(identities, b) {
			left = append(left, "cephx identity of "+b)
		}
	}
	return left, err
}

// sharesOf are the shares that the cloud's administrator finds of an instance.
func (c *testCloud) sharesOf(ctx context.Context, instance string) ([]shares.Share, error) {
	pages, err := shares.ListDetail(c.admin, shares.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return nil, err
	}
	found, err := shares.ExtractShares(pages)
	var own []shares.Share
	for _, s := range found {
		if s.Metadata[instanceKey] == instance || strings.Contains(s.Name, instance) {
			own = append(own, s)
		}
	}
	return own, err
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newInstance(t testing.TB, change func(*instance)) instance {
	id := fmt.Sprintf("%s@%d", t.Name(), time.Now().UnixNano())
	inst := instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
	inst.Plan.ShareType, inst.Plan.Storage, inst.Plan.MaxStorage = typeCephFS, services.Gigabyte, 3*services.Gigabyte
	if change != nil {
		change(&inst)
	}
	return inst
}

func newBinding(t testing.TB, inst instance, id string, role access.Role) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName(inst.ID, id), Params: BindingParams{Role: role}, Seed: seed}
}

// provisioned is an instance that goes at the end of t.
func provisioned(t testing.TB, b *backend, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(t, change)
	t.Cleanup(func() {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

func bound(t testing.TB, b *backend, inst instance, bd binding) services.Credentials {
	t.Helper()
	c, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// delivered are credentials as an application gets them.
func delivered(t testing.TB, c services.Credentials) map[string]any {
	t.Helper()
	raw, err := json.Marshal(c.Values)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := json.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// dialled opens an application's session on credentials.
func dialled(t testing.TB, c services.Credentials) *session {
	t.Helper()
	s, err := dial(testContext(t), delivered(t, c))
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*session)
}

func expect(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v, want %q", err, w)
		}
	}
}
