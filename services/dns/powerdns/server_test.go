package powerdns

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// testServer is a real server for one test.
type testServer struct{ *embedded.PowerDNS }

func newServer(t *testing.T) *testServer {
	t.Helper()
	return &testServer{embeddedtest.PowerDNS(t)}
}

// proxied is the backend's configuration for an API at address.
func (s *testServer) proxied(address string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"url": "http://" + address, "api_key": s.APIKey(), "host": s.Host(), "port": s.Port(),
		"nameservers": []string{"ns1.test", "ns2.test"}, "prefix": "suite",
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) apiAddress() string { return strings.TrimPrefix(s.APIURL(), "http://") }

func (s *testServer) backend(t *testing.T) *backend {
	t.Helper()
	config, err := services.Decode[Config](s.proxied(s.apiAddress()))
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

// admin is the API for the server's operator.
func (s *testServer) admin() *pdns.Client {
	return pdns.New(s.APIURL(), "localhost", pdns.WithAPIKey(s.APIKey()))
}

// makeZone makes a zone of the operator.
func (s *testServer) makeZone(t *testing.T, name string, sets ...pdns.RRset) {
	t.Helper()
	z := &pdns.Zone{
		Name: pdns.String(name), Kind: pdns.ZoneKindPtr(pdns.NativeZoneKind), RRsets: append(sets,
			replacement(zone.Key{Name: name, Type: "SOA"}, zone.Set{TTL: 60, Values: []string{"ns1.test. h.test. 1 60 60 60 60"}}),
			replacement(zone.Key{Name: name, Type: "NS"}, zone.Set{TTL: 60, Values: []string{"ns1.test."}})),
	}
	if _, err := s.admin().Zones.Add(testContext(t), z); err != nil {
		t.Fatal(err)
	}
}

// leftOf asks the server for zones, keys and entries in lists of keys.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	var left []string
	note := func(kind, name string) {
		for _, mine := range append(bindings[:len(bindings):len(bindings)], instance) {
			if strings.Contains(name, mine) {
				left = append(left, kind+" "+name)
			}
		}
	}
	zones, err := s.admin().Zones.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, z := range zones {
		note("zone", *z.Name+" of "+*z.Account)
		lists, err := s.admin().Metadata.List(ctx, *z.Name)
		if err != nil {
			return nil, err
		}
		for _, m := range lists {
			note("metadata of "+*z.Name, strings.Join(m.Metadata, " "))
		}
	}
	keys, err := s.admin().TSIGKeys.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if _, err := s.admin().TSIGKeys.Get(ctx, *k.ID); err == nil { // LMDB goes on listing what was deleted
			note("key", *k.Name)
		}
	}
	return left, nil
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

const parent = "apps.test"

func newInstance(id string, change func(*instance)) instance {
	inst := instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
	inst.Plan.Parents = []string{parent}
	if change != nil {
		change(&inst)
	}
	return inst
}

func newBinding(t *testing.T, inst instance, id string, params BindingParams) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	if params.Role == "" {
		params.Role = access.ReadWrite
	}
	return binding{ID: id, Name: services.BindingName(inst.ID, id), Params: params, Seed: seed}
}

// provisioned makes an instance for t.
func provisioned(t *testing.T, b *backend, id string, change func(*instance)) instance {
	t.Helper()
	inst := newInstance(id, change)
	if err := servicetest.Once(b).Provision(testContext(t), inst); err != nil {
		t.Fatalf("provision: %v", err)
	}
	return inst
}

// bound makes a binding and a session with its credentials.
func bound(t *testing.T, b *backend, inst instance, id string, params BindingParams) *client {
	t.Helper()
	c, err := servicetest.Once(b).Bind(testContext(t), inst, newBinding(t, inst, id, params))
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	return dialled(t, c.Values)
}

func dialled(t *testing.T, values map[string]any) *client {
	t.Helper()
	s, err := dial(testContext(t), values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	return s.(*client)
}
