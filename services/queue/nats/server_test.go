package nats

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

type binding = services.Binding[BindingParams]

// testServer is real servers as one test sees them.
type testServer struct {
	*embedded.NATS
	dir      string
	operator string
	creds    string
}

func newServer(t testing.TB, o embedded.NATSOptions) *testServer {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	n, err := embedded.StartNATS(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{NATS: n, dir: o.Dir}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil { // t's context has ended in a cleanup
			t.Error(err)
		}
	})
	for file, content := range map[string]*string{n.OperatorSeedFile(): &s.operator, n.SystemCredsFile(): &s.creds} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		*content = strings.TrimSpace(string(data))
	}
	return s
}

// address is the host:port of the first server.
func (s *testServer) address() string { return strings.TrimPrefix(s.URLs()[0], "nats://") }

// config is the backend's configuration for reaching the servers at address.
func (s *testServer) config(address string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"url": "nats://" + address, "servers": s.URL(), "prefix": "suite",
		"operator_seed": s.operator, "system_creds": s.creds,
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) backend(t testing.TB) *backend {
	t.Helper()
	config, err := services.Decode[Config](s.config(s.address()))
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

// leftOf looks for what is on the servers' disks of an instance's account: its
// JWT and its streams.
func (s *testServer) leftOf(keys *keyring) func(context.Context, string, []string) ([]string, error) {
	return func(ctx context.Context, instance string, _ []string) ([]string, error) {
		account, err := keys.account(instance)
		if err != nil {
			return nil, err
		}
		// The servers of a cluster remove their copies after they confirmed.
		for deadline := time.Now().Add(time.Minute); ; {
			left, err := s.files(account)
			if err != nil || len(left) == 0 || time.Now().After(deadline) {
				return left, err
			}
			select {
			case <-ctx.Done():
				return left, ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// files are the files below the servers' folders whose path holds an account's
// name, without those that only mark where an account's streams were. A checksum
// of a stream's description, without the description, is such a mark: a server
// that writes both while it removes the stream may leave it.
func (s *testServer) files(account string) ([]string, error) {
	var left []string
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // it went while we looked
		}
		if err == nil && !entry.IsDir() && entry.Name() != "meta.sum" && strings.Contains(path, account) {
			left = append(left, strings.TrimPrefix(path, s.dir))
		}
		return err
	})
	return left, err
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newInstance(id string, change func(*Plan)) instance {
	inst := instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
	inst.Plan.Storage = 16 * services.Megabyte
	if change != nil {
		change(&inst.Plan)
	}
	return inst
}

func newBinding(t testing.TB, inst instance, id string, change func(*BindingParams)) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	bd := binding{ID: id, Name: services.BindingName(inst.ID, id), Seed: seed}
	bd.Params.SetDefaults()
	if change != nil {
		change(&bd.Params)
	}
	return bd
}

// dialled opens an application's session on what Bind returned.
func dialled(t *testing.T, values map[string]any) *client {
	t.Helper()
	s, err := dial(testContext(t), values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*client)
}

// bound binds and returns the binding's session.
func (b *backend) bound(t *testing.T, inst instance, bd binding) *client {
	t.Helper()
	c, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	return dialled(t, c.Values)
}

func (b *backend) provisioned(t *testing.T, inst instance) instance {
	t.Helper()
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatalf("provision: %v", err)
	}
	return inst
}
