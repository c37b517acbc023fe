package manila

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// verbs are all calls of a backend that go to Manila.
func verbs(t *testing.T, b *backend, inst instance) map[string]func(context.Context) error {
	bd := newBinding(t, inst, "b", access.ReadWrite)
	next := inst
	next.Params.Storage = 2 * services.Gigabyte
	once := servicetest.Once(b)
	return map[string]func(context.Context) error{
		"provision":   func(ctx context.Context) error { return once.Provision(ctx, inst) },
		"update":      func(ctx context.Context) error { return once.Update(ctx, inst, next) },
		"bind":        func(ctx context.Context) error { _, err := once.Bind(ctx, inst, bd); return err },
		"unbind":      func(ctx context.Context) error { return once.Unbind(ctx, inst, bd) },
		"deprovision": func(ctx context.Context) error { return once.Deprovision(ctx, inst) },
		"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
	}
}

// strange is a backend with the real Keystone, and a handler for Manila.
func strange(t *testing.T, c *testCloud, handler http.HandlerFunc) *backend {
	t.Helper()
	manila := httptest.NewServer(handler)
	t.Cleanup(manila.Close)
	return openBackend(t, c.config("mtest", openstacktest.Gateway(t, map[string]string{"v3": c.keystone, "v2": manila.Listener.Addr().String()})))
}

// If Manila is broken or something else, every verb's error names it, is for the operator and
// contains no secret.
func TestStrangeManila(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	inst := provisioned(t, cloud.backend(t, "mtest"), nil)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		words   string
	}{
		"a web page":          {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") }, "something other than a JSON object"},
		"an error of a proxy": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "Manila answers 502"},
		"an error in HTML": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "<html>"+strings.Repeat("x", 100_000))
		}, "Manila answers 500"},
		"an old version": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotAcceptable)
			fmt.Fprint(w, "Version %(req_ver)s is not supported by the API.")
		}, "release Rocky or newer"},
		"a refused token": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "keystone_authtoken"},
		"a strict policy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"forbidden": {"code": 403, "message": "Policy doesn't allow share:get_all to be performed."}}`)
		}, "policy does not allow it to a member of the project"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"shares": [`)
		}, ""},
		"other JSON": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"shares": 1, "snapshots": "x"}`) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for verb, call := range verbs(t, strange(t, cloud, test.handler), inst) {
				checkFault(t, cloud, verb, call(testContext(t)), test.words)
			}
		})
	}
}

func checkFault(t *testing.T, c *testCloud, verb string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) || words != "" && !strings.Contains(err.Error(), "Manila") && !strings.Contains(err.Error(), "service") {
		t.Errorf("%s: %v, want %q", verb, err, words)
		return
	}
	if message, rejected := services.IsRejected(err); rejected {
		t.Errorf("%s: reported as the user's error: %s", verb, message)
	}
	if strings.Contains(err.Error(), c.broker.Password) || strings.Contains(err.Error(), "://") || len(err.Error()) > 1000 {
		t.Errorf("%s: %.1200s", verb, err)
	}
}

// A Manila that takes the call and never answers.
func TestManilaHangs(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	inst := provisioned(t, cloud.backend(t, "mtest"), nil)
	end := make(chan struct{})
	b := strange(t, cloud, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	})
	defer close(end)
	if _, err := b.cloud.FindProject(testContext(t), inst.Name); err != nil { // authenticates
		t.Fatal(err)
	}
	for verb, call := range verbs(t, b, inst) {
		t.Run(verb, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			began := time.Now()
			checkFault(t, cloud, verb, call(ctx), "")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s took %s", verb, took)
			}
		})
	}
}

// An account that is an administrator is refused, by every verb.
func TestAdministrator(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	var config map[string]any
	if err := json.Unmarshal(cloud.config("mtest", cloud.front), &config); err != nil {
		t.Fatal(err)
	}
	admin := cloud.Identity.DomainAdmin()
	raw, err := json.Marshal(at(config, map[string]any{"username": admin.Name, "password": admin.Password}))
	if err != nil {
		t.Fatal(err)
	}
	b := openBackend(t, raw)
	inst := newInstance(t, nil)
	all := verbs(t, b, inst)
	all["ready"] = b.Ready
	for verb, call := range all {
		if err := call(testContext(t)); err == nil || !strings.Contains(err.Error(), "the role admin") {
			t.Errorf("%s: %v", verb, err)
		}
	}
}
