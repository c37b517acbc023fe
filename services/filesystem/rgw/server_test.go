package rgw

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// testServer is a real gateway, with the key of a user that has the broker's capabilities.
type testServer struct {
	endpoint             string
	accessKey, secretKey string
	prefix               string // of this test's own
}

func newServer(t testing.TB) *testServer {
	t.Helper()
	cloud := embeddedtest.OpenStack(t, openstack.Objects)
	if cloud.Identity != nil || cloud.Database != nil {
		t.Error("servers run that the gateway does not need")
	}
	return serverOf(cloud)
}

func serverOf(cloud *openstack.Cloud) *testServer {
	g := cloud.Objects
	return &testServer{g.Endpoint(), g.AccessKeyID(), g.SecretAccessKey(), "t" + strings.ToLower(rand.Text()[:7])}
}

func (s *testServer) address() string { return strings.TrimPrefix(s.endpoint, "http://") }

// config is the backend's configuration for reaching the gateway at address;
// applications are told the gateway's own.
func (s *testServer) config(address string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"endpoint": "http://" + address, "public_endpoint": s.endpoint,
		"access_key_id": s.accessKey, "secret_access_key": s.secretKey, "prefix": s.prefix,
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) backend(t testing.TB) *backend {
	t.Helper()
	return openBackend(t, s.config(s.address()))
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

// api asks the gateway without the backend's code.
func (s *testServer) api(t testing.TB) *admin.API {
	t.Helper()
	api, err := admin.New(s.endpoint, s.accessKey, s.secretKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// leftOf looks for what is left of an instance on the gateway. Keys are their users'.
func (s *testServer) leftOf(t testing.TB) func(ctx context.Context, instance string, _ []string) ([]string, error) {
	api := s.api(t)
	return func(ctx context.Context, instance string, _ []string) ([]string, error) {
		users, err := api.GetUsers(ctx)
		if err != nil {
			return nil, err
		}
		buckets, err := api.ListBuckets(ctx)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(append(*users, buckets...), func(name string) bool { return !strings.Contains(name, instance) }), nil
	}
}
