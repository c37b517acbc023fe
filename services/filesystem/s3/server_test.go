package s3

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

type binding = services.Binding[BindingParams]

// testServer is a real gateway.
type testServer struct {
	*embedded.VersityGW
	dir    string
	folder string // for hard limits
}

func newServer(t testing.TB) *testServer {
	t.Helper()
	dir := t.TempDir()
	return &testServer{VersityGW: embeddedtest.VersityGW(t, embedded.VersityGWOptions{Dir: dir}), dir: dir}
}

func (s *testServer) address() string { return strings.TrimPrefix(s.Endpoint(), "http://") }

// config is the backend's configuration for reaching the gateway at address;
// applications are told the gateway's own.
func (s *testServer) config(prefix, address string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"endpoint": "http://" + address, "public_endpoint": s.Endpoint(), "region": s.Region(),
		"access_key_id": s.AccessKeyID(), "secret_access_key": s.SecretAccessKey(),
		"prefix": prefix, "folder": s.folder,
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) backend(t testing.TB, prefix string) *backend {
	t.Helper()
	return openBackend(t, s.config(prefix, s.address()))
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

// leftOf looks for what is left of an instance and its bindings in the
// gateway's own files.
func (s *testServer) leftOf(_ context.Context, instance string, bindings []string) ([]string, error) {
	var left []string
	buckets, err := os.ReadDir(s.BucketsFolder())
	if err != nil {
		return nil, err
	}
	accounts, err := os.ReadFile(filepath.Join(s.dir, "accounts", "users.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range append(bindings, instance) {
		for _, b := range buckets {
			if strings.Contains(b.Name(), name) {
				left = append(left, "folder "+b.Name())
			}
		}
		if strings.Contains(string(accounts), name) {
			left = append(left, "account of "+name)
		}
	}
	return left, nil
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newInstance(id string, change func(*instance)) instance {
	inst := instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
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
func provisioned(t *testing.T, b *backend, id string, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(id, change)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

func bound(t *testing.T, b *backend, inst instance, bd binding) services.Credentials {
	t.Helper()
	c, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dialled opens an application's session on credentials.
func dialled(t *testing.T, values map[string]any) *session {
	t.Helper()
	s, err := dial(testContext(t), values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*session)
}

func (s *session) put(t *testing.T, key, value string) error {
	t.Helper()
	return s.Write(testContext(t), key, value)
}

func (s *session) mustPut(t *testing.T, key, value string) {
	t.Helper()
	if err := s.put(t, key, value); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func expect(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

// text is one of the credentials that are strings.
func text(t *testing.T, values map[string]any, key string) string {
	t.Helper()
	s, ok := values[key].(string)
	if !ok {
		t.Fatalf("the credentials have no %s", key)
	}
	return s
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
