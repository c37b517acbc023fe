package s3

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

type binding = objecttest.Binding

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
	return objecttest.NewBinding(t, shared(inst), id, role)
}

// provisioned is an instance that goes with the gateway at the end of t.
func provisioned(t *testing.T, b *backend, id string, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(id, change)
	t.Cleanup(func() {
		last := inst
		last.Plan.DeleteContents = true
		_ = servicetest.Patient(b).Deprovision(context.Background(), last) // the gateway may be gone
	})
	if err := servicetest.Once(b).Provision(objecttest.Context(t), inst); err != nil {
		t.Fatal(err)
	}
	return inst
}

func bound(t *testing.T, b *backend, inst instance, bd binding) services.Credentials {
	t.Helper()
	c, err := servicetest.Once(b).Bind(objecttest.Context(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
