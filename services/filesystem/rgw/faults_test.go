package rgw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func openFaulty(t *testing.T, endpoint string) objecttest.Backend {
	return openBackend(t, json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "access_key_id": "admin", "secret_access_key": %q}`, endpoint, objecttest.FaultySecret)))
}

func TestNonsense(t *testing.T) { objecttest.Nonsense(t, openFaulty, "update") }

func TestHangs(t *testing.T) { objecttest.Hangs(t, openFaulty) }

// A context that has ended is no answer that is not understood.
func TestContextHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for verb, call := range objecttest.Verbs(t, openFaulty(t, "http://127.0.0.1:1").(*backend)) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// The gateway refuses an unknown user and one without the capabilities; Ready says which it lacks.
func TestWrongRights(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	api := server.api(t)
	mere := admin.User{ID: server.prefix + "-mere", DisplayName: "x", Keys: []admin.UserKeySpec{{AccessKey: server.prefix + "-mere", SecretKey: objecttest.FaultySecret}}}
	if _, err := api.CreateUser(ctx, mere); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.RemoveUser(context.Background(), admin.User{ID: mere.ID}) })
	for name, change := range map[string]map[string]any{
		"an unknown key":  {"access_key_id": "nobody"},
		"a wrong secret":  {"secret_access_key": objecttest.FaultySecret},
		"no capabilities": {"access_key_id": server.prefix + "-mere", "secret_access_key": objecttest.FaultySecret},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBackend(t, changed(t, server.config(server.address()), change))
			for verb, call := range objecttest.Verbs(t, b) {
				err := call(ctx)
				objecttest.CheckFault(t, verb, err, objecttest.FaultySecret)
				objecttest.CheckFault(t, verb, err, server.secretKey)
				objecttest.Expect(t, err, "check that access_key_id and secret_access_key are a key of a user with the capabilities users=*, buckets=read and metadata=read")
			}
		})
	}
}

// changed is a configuration with other values.
func changed(t *testing.T, raw json.RawMessage, change map[string]any) json.RawMessage {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	for key, value := range change {
		config[key] = value
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Ready says which capabilities the broker's user lacks.
func TestReadySaysWhatIsMissing(t *testing.T) {
	for caps, want := range map[string]string{
		`[]`: "buckets=read;metadata=read;users=*",
		`[{"type":"users","perm":"read"},{"type":"buckets","perm":"*"}]`:                                   "metadata=read;users=*",
		`[{"type":"users","perm":"*"},{"type":"buckets","perm":"read"},{"type":"metadata","perm":"read"}]`: "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "1")
			fmt.Fprintf(w, `{"user_id":"chandler","caps":%s}`, caps)
		}))
		err := openFaulty(t, server.URL).Ready(t.Context())
		if want == "" && err != nil {
			t.Errorf("%s: %v", caps, err)
		}
		if want != "" {
			objecttest.Expect(t, err, "lacks the capabilities "+want+": run radosgw-admin caps add --uid=chandler --caps='"+want+"'")
		}
		server.Close()
	}
}

// The gateway is away between two verbs: nothing is lost.
func TestGatewayIsAway(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	proxy := servicetest.NewProxy(t, server.address())
	b := openBackend(t, server.config(proxy.Address()))
	inst := objecttest.Provisioned(t, b, "i", func(i *objecttest.Instance) { i.Plan.DeleteContents = true })
	bd := objecttest.NewBinding(t, inst, "b", access.ReadWrite)
	first := objecttest.Bound(t, b, inst, bd)
	objecttest.Dial(t, first.Values).MustPut(t, "key", "value")
	proxy.Stop()
	for verb, call := range objecttest.Verbs(t, b) {
		objecttest.CheckFault(t, verb, call(ctx), server.secretKey)
	}
	direct := server.backend(t) // a replica that reaches it
	if again := objecttest.Bound(t, direct, inst, bd); again.Values["uri"] != first.Values["uri"] {
		t.Error("other credentials after the outage")
	}
	if value, err := objecttest.Dial(t, first.Values).Read(ctx, "key"); value != "value" || err != nil {
		t.Errorf("after the outage: %q, %v", value, err)
	}
	if err := objecttest.Deprovision(ctx, direct, inst); err != nil {
		t.Error(err)
	}
}

// Connections that died between two calls are no failed calls.
func TestIdleConnectionsDie(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	proxy := servicetest.NewProxy(t, server.address())
	b := openBackend(t, server.config(proxy.Address()))
	inst := objecttest.NewInstance("i", deletable)
	for verb, call := range map[string]func() error{
		"provision":   func() error { return servicetest.Once(b).Provision(ctx, inst) },
		"ready":       func() error { return b.Ready(ctx) },
		"deprovision": func() error { return objecttest.Deprovision(ctx, b, inst) },
	} {
		proxy.Cut()
		time.Sleep(10 * time.Millisecond)
		if err := call(); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if err := objecttest.Deprovision(ctx, b, inst); err != nil {
		t.Error(err)
	}
}

// A user has no secret in a request's query, which gateways log.
func TestNoSecretIsLogged(t *testing.T) {
	server := newServer(t)
	var queries []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.Method+" "+r.URL.String())
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer gateway.Close()
	b := openBackend(t, server.config(strings.TrimPrefix(gateway.URL, "http://")))
	inst := objecttest.NewInstance("i", nil)
	if _, err := b.gateway.createKey(t.Context(), b.names.user(inst.Name, "rw"), "key"); !objectstore.Is(err, "ServiceUnavailable") {
		t.Fatal(err)
	}
	if len(queries) != 1 || strings.Contains(queries[0], "secret") {
		t.Errorf("requests: %q", queries)
	}
}
