package manila

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/sharetypes"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	openstackapi "github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// testCloud is a cloud with Keystone, Manila and Ceph.
type testCloud struct {
	keystone, manila string
	role             string // the ID of member
	// identity and admin act as the cloud's administrator.
	identity, admin *gophercloud.ServiceClient
	front           string // host:port of Keystone and Manila in one
}

const (
	testDomain   = "chandler"
	testUser     = "chandler"
	testPassword = "chandlerpw"
	// adminUser is an administrator of the domain.
	adminUser     = "broker"
	adminPassword = "brokerpw"
)

// newCloud returns the cloud that runs on this machine.
// TODO: start it by package embedded, and fail instead of skipping if CI=true.
func newCloud(t testing.TB) *testCloud {
	t.Helper()
	c := &testCloud{keystone: "127.0.0.1:25500", manila: cmp.Or(os.Getenv("CHANDLER_TEST_MANILA"), "127.0.0.1:25503")}
	conn, err := net.DialTimeout("tcp", c.manila, time.Second)
	if err != nil {
		t.Skip("no OpenStack runs on this machine")
	}
	_ = conn.Close()
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: "http://" + c.keystone + "/v3", Username: "admin", Password: "adminpw", DomainName: "Default", TenantName: "admin", AllowReauth: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	provider.HTTPClient = http.Client{Timeout: time.Minute}
	c.identity = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: "http://" + c.keystone + "/v3/"}
	c.admin = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: "http://" + c.manila + "/v2/", Type: "sharev2", Microversion: "2.45"}
	c.role = c.roleID(t)
	c.front = openstacktest.Gateway(t, map[string]string{"v3": c.keystone, "v2": c.manila})
	c.shareType(t, typeCephFS, "CEPHFS", true)
	c.shareType(t, typeDummy, "DUMMY", true)
	return c
}

// The tests' share types.
const (
	typeCephFS = "manila-cephfs"
	typeDummy  = "manila-dummy"
)

func (c *testCloud) roleID(t testing.TB) string {
	t.Helper()
	pages, err := roles.List(c.identity, roles.ListOpts{Name: "member"}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := roles.ExtractRoles(pages)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0].ID
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
		"auth_url": "http://" + address + "/v3", "endpoint": "http://" + address + "/v2", "domain": testDomain,
		"username": testUser, "password": testPassword, "member_role_id": c.role, "prefix": prefix, "csi_cluster_id": "ceph",
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

// needClient skips a test that mounts shares where that is impossible.
// TODO: package embedded tells where its programs are.
func needClient(t testing.TB) {
	t.Helper()
	for _, program := range []string{client, "ceph"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil || os.Geteuid() != 0 {
		t.Skip("only root can mount, and needs /dev/fuse")
	} else {
		_ = f.Close()
	}
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
