package rabbitmq

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

type binding = services.Binding[BindingParams]

// testServer is the real server as one test sees it.
type testServer struct {
	admin *url.URL // of the management API, with name and password
	port  int      // of applications
}

func newServer(t testing.TB) *testServer {
	t.Helper()
	return serverAt(t, embeddedtest.RabbitMQ(t))
}

func serverAt(t testing.TB, s *embedded.RabbitMQ) *testServer {
	t.Helper()
	admin, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	return &testServer{admin, s.Port()}
}

func (s *testServer) password() string {
	password, _ := s.admin.User.Password()
	return password
}

// proxied is the configuration for reaching the management API at address.
func (s *testServer) proxied(prefix string) func(address string) json.RawMessage {
	return func(address string) json.RawMessage {
		u := *s.admin
		u.Host = address
		raw, err := json.Marshal(map[string]any{"url": u.String(), "host": s.admin.Hostname(), "port": s.port, "prefix": prefix, "frame_max": embedded.RabbitMQFrameMax})
		if err != nil {
			panic(err) // strings and numbers always encode
		}
		return raw
	}
}

func (s *testServer) backend(t testing.TB, prefix string) *backend {
	t.Helper()
	return openBackend(t, s.proxied(prefix)(s.admin.Host))
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

// ask asks the management API, past the backend and its library.
func (s *testServer) ask(ctx context.Context, path string, answer any) error {
	return askAs(ctx, s.admin.String(), path, answer)
}

func askAs(ctx context.Context, base, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// leftOf looks for whatever is on the server of an instance or its bindings.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	var left []string
	for _, kind := range []string{"vhosts", "users", "permissions", "topic-permissions", "policies", "operator-policies", "vhost-limits", "user-limits", "queues"} {
		var all []map[string]any
		if err := s.ask(ctx, "/api/"+kind+"?disable_stats=true", &all); err != nil {
			return nil, err
		}
		for _, entry := range all {
			for _, key := range []string{"name", "vhost", "user"} {
				value, _ := entry[key].(string)
				for _, name := range append(bindings, instance) {
					if strings.Contains(value, name) {
						left = append(left, kind+" "+value)
					}
				}
			}
		}
	}
	return left, nil
}

// left lists the virtual hosts and users of a prefix.
func (s *testServer) left(t *testing.T, prefix string) []string {
	t.Helper()
	left, err := s.leftOf(testContext(t), prefix+"_", nil)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
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

func newBinding(t testing.TB, inst instance, id, params string) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	p, err := services.Decode[BindingParams](json.RawMessage(params))
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName(inst.ID, id), Params: p, Seed: seed}
}

// provisioned makes an instance that goes with the test.
func provisioned(t *testing.T, b *backend, id string, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(id, change)
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
			t.Error(err)
		}
	})
	return inst
}

// bound makes a binding and returns what its application reads.
func bound(t *testing.T, b *backend, inst instance, id, params string) map[string]any {
	t.Helper()
	c, err := servicetest.Once(b).Bind(testContext(t), inst, newBinding(t, inst, id, params))
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}

// dialled opens an application's session.
func dialled(t *testing.T, credentials map[string]any) *client {
	t.Helper()
	s, err := dial(testContext(t), credentials)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*client)
}

func (s *testServer) address() string {
	return net.JoinHostPort(s.admin.Hostname(), strconv.Itoa(s.port))
}
