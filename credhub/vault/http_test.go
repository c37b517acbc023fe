package vault_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services"
)

func TestNamespace(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.URL.Path] = r.Header.Get(api.NamespaceHeaderName)
		mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/login"):
			_, _ = w.Write([]byte(`{"auth":{"client_token":"t","lease_duration":3600,"renewable":true}}`))
		case r.URL.Path == "/v1/sys/seal-status":
			_, _ = w.Write([]byte(`{"initialized":true,"sealed":false}`))
		case strings.Contains(r.URL.Path, "/data/"):
			_, _ = w.Write([]byte(`{"data":{"version":1}}`))
		default:
			_, _ = w.Write([]byte(`{"data":{},"auth":{"client_token":"t","lease_duration":3600,"renewable":true}}`))
		}
	}))
	defer s.Close()
	for name, c := range map[string]struct{ config, environment string }{
		"configured": {"team-a", ""}, "environment": {"", "team-a"}, "configuration first": {"team-a", "team-b"}, "none": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("VAULT_NAMESPACE", c.environment)
			mu.Lock()
			clear(seen) // the last store may still send requests
			mu.Unlock()
			want := "team-a"
			if name == "none" {
				want = ""
			}
			store := open(t, vault.Config{Address: s.URL, Namespace: c.config, Auth: vault.AuthAppRole, RoleID: "r", SecretID: services.NewSecret("s")})
			mustPut(t, store)
			_ = store.Ready(t.Context()) // the server answers too little
			mu.Lock()
			defer mu.Unlock()
			for requested, want := range map[string]string{
				"/v1/auth/approle/login":                    want,
				"/v1/secret/data/chandler/" + path.String(): want,
				"/v1/sys/capabilities-self":                 want,
				"/v1/sys/seal-status":                       "", // known to the root namespace only
			} {
				if got, ok := seen[requested]; !ok || got != want {
					t.Errorf("%s was requested: %v, in namespace %q, want %q", requested, ok, got, want)
				}
			}
		})
	}
}

// A proxy may answer instead of Vault, and may repeat what was sent to it.
func TestAnswersThatAreNotVaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a proxy's page":          {502, "<html>bad gateway: c2VlZA==", "HTTP 502: Bad Gateway"},
		"a page in place of JSON": {200, "<html>c2VlZA==", "the reply did not come from Vault's KV engine"},
		"another's JSON":          {200, `{"ok":"c2VlZA=="}`, "the reply did not come from Vault's KV engine"},
		"half an answer":          {200, `{"data":{"data":{"seed":"c2VlZA==`, "the reply did not come from Vault's KV engine"},
		"a limit":                 {429, `{"errors":["request path \"x\": rate limit quota exceeded"]}`, "rate limit quota exceeded"},
		"several errors":          {500, `{"errors":["1 error occurred:\n\t* one\n\n","two"]}`, "1 error occurred: * one; two"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer s.Close()
			store := open(t, vault.Config{Address: s.URL, Token: services.NewSecret("t")})
			_, ensured := store.Ensure(t.Context(), path, value)
			_, gotten := store.Get(t.Context(), path)
			for method, err := range map[string]error{"Ensure": ensured, "Get": gotten, "Put": store.Put(t.Context(), path, value)} {
				if err == nil || errors.Is(err, credhub.ErrNotFound) || !strings.Contains(err.Error(), c.want) ||
					strings.Contains(err.Error(), "c2VlZA==") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v, want %q and no value", method, err, c.want)
				}
			}
		})
	}
}
