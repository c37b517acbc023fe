package powerdns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

const testKey = "very-secret-api-key"

// pretender is a backend whose API is handler.
func pretender(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	config, err := services.Decode[Config](raw(fmt.Sprintf(
		`{"url": %q, "api_key": %q, "host": "127.0.0.1", "port": 9, "nameservers": ["ns1.test"]}`, server.URL, testKey)))
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

// Any answer of a server becomes a short error that does not blame the user.
func TestNonsense(t *testing.T) {
	inst := newInstance("i", nil)
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) },
		"null":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("null")) },
		"another shape": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"zones": 5}`)) },
		"nothing":       func(http.ResponseWriter, *http.Request) {},
		"a null for an error": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("null"))
		},
		"a long page for an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(strings.Repeat("\x00no\n", 100000)))
		},
		"a wrong key": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/stolen", http.StatusTemporaryRedirect)
		},
		"an answer cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("["))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := pretender(t, handler)
			for verb, call := range map[string]func(context.Context) error{
				"ready":     b.Ready,
				"provision": func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) },
				"update":    func(ctx context.Context) error { return servicetest.Once(b).Update(ctx, inst, inst) },
				"bind": func(ctx context.Context) error {
					_, err := servicetest.Once(b).Bind(ctx, inst, newBinding(t, inst, "b", BindingParams{}))
					return err
				},
				"unbind": func(ctx context.Context) error {
					return servicetest.Once(b).Unbind(ctx, inst, newBinding(t, inst, "b", BindingParams{}))
				},
				"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
				"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
				"keep": func(ctx context.Context) error {
					_, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
					return err
				},
				"describe": func(ctx context.Context) error { _, err := b.Describe(ctx, inst); return err },
			} {
				err := call(testContext(t))
				if err == nil {
					t.Errorf("%s succeeded", verb)
					continue
				}
				if _, rejected := services.IsRejected(err); rejected || len(err.Error()) > 700 || strings.Contains(err.Error(), testKey) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// A call of a server that hangs ends with its context.
func TestHanging(t *testing.T) {
	b := pretender(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := servicetest.Once(b).Provision(ctx, newInstance("i", nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("provision: %v", err)
	}
}

// A zone that is being made when its operation is cancelled exists before the undo starts, and
// is not made later.
func TestChangeOutlastsItsContext(t *testing.T) {
	var made atomic.Bool
	b := pretender(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			time.Sleep(300 * time.Millisecond)
			made.Store(true)
		}
		_, _ = w.Write([]byte("[]"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := servicetest.Once(b).Provision(ctx, newInstance("i", nil)); err == nil {
		t.Error("it goes on without time")
	}
	if !made.Load() {
		t.Error("the server still makes the zone")
	}
}

func TestReadySaysWhatToSet(t *testing.T) {
	good := map[string]string{
		"dnsupdate": "yes", "allow-dnsupdate-from": "", "allow-axfr-ips": "127.0.0.1,192.0.2.1", "disable-axfr": "no",
		"enable-lua-records": "no", "lua-dnsupdate-policy-script": "",
	}
	for _, test := range []struct{ name, setting, value, want string }{
		{"as it should be", "", "", ""},
		{"no updates", "dnsupdate", "no", "dnsupdate=yes"},
		{"updates from somewhere", "allow-dnsupdate-from", "127.0.0.0/8,::1", "allow-dnsupdate-from"},
		{"a policy", "lua-dnsupdate-policy-script", "/etc/p.lua", "lua-dnsupdate-policy-script"},
		{"no transfers", "disable-axfr", "yes", "disable-axfr=no"},
		{"transfers for all", "allow-axfr-ips", "127.0.0.1, 0.0.0.0/0", "allow-axfr-ips"},
		{"code in records", "enable-lua-records", "shared", "enable-lua-records=no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := pretender(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/api/v1/servers/localhost/config" || r.Header.Get("X-API-Key") != testKey {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				var settings []map[string]string
				for name, value := range good {
					if name == test.setting {
						value = test.value
					}
					settings = append(settings, map[string]string{"name": name, "value": value, "type": "ConfigSetting"})
				}
				_ = json.NewEncoder(w).Encode(settings)
			})
			err := b.Ready(testContext(t))
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error: %v, want %q", err, test.want)
			}
		})
	}
	if err := newServer(t).backend(t).Ready(testContext(t)); err != nil {
		t.Errorf("the real server: %v", err)
	}
}

// Every verb converges if the server is restarted or killed between its calls.
func TestRestarts(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	inst := provisioned(t, b, "i", nil)
	bd := newBinding(t, inst, "b", BindingParams{})
	made, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	c := dialled(t, made.Values)
	if err := c.Write(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(){"kill": server.Kill, "restart": func() {}} {
		harm()
		if name == "kill" {
			if err := servicetest.Once(b).Unbind(ctx, inst, bd); err == nil {
				t.Error("unbind succeeded without the server")
			}
		}
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Read(ctx, "k"); err != nil || got != "v" {
			t.Errorf("after %s: %q, %v", name, got, err)
		}
		if err := b.Ready(ctx); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil || c.Ping(ctx) == nil {
		t.Errorf("unbind: %v", err)
	}
}

// An operator's deletions do not affect other instances.
func TestKeysDeletedByHand(t *testing.T) {
	server := newServer(t)
	b, ctx := server.backend(t), testContext(t)
	inst := provisioned(t, b, "i", nil)
	lost := newBinding(t, inst, "lost", BindingParams{Role: access.ReadOnly})
	if _, err := servicetest.Once(b).Bind(ctx, inst, lost); err != nil {
		t.Fatal(err)
	}
	if err := server.admin().TSIGKeys.Delete(ctx, b.names.key(inst.Name, lost.Name)); err != nil {
		t.Fatal(err)
	}
	reader := bound(t, b, inst, "reader", BindingParams{Role: access.ReadOnly})
	if _, err := reader.transfer(ctx); err != nil {
		t.Error(err)
	}
	if _, err := servicetest.Once(b).Bind(ctx, inst, lost); err != nil { // it heals
		t.Error(err)
	}
	if err := servicetest.Once(b).Unbind(ctx, inst, lost); err != nil {
		t.Error(err)
	}
	lists, err := b.rights(ctx, zoneName(inst))
	if err != nil || slices.Contains(lists.transfer, b.names.key(inst.Name, lost.Name)) || len(lists.transfer) != 1 {
		t.Errorf("lists: %v, %v", lists.keyLists, err)
	}
}
