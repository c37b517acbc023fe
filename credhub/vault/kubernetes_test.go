package vault_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/credhub/vault"
)

// cluster is the endpoint of a Kubernetes API server by which Vault checks a service
// account's token (authentication.k8s.io/v1, TokenReview).
type cluster struct {
	*httptest.Server

	mu   sync.Mutex
	good map[string]string // token to user name
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{good: map[string]string{}}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(c.review))
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) review(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Spec struct {
			Token     string
			Audiences []string
		}
	}
	if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&asked) != nil {
		http.NotFound(w, r)
		return
	}
	c.mu.Lock()
	user, ok := c.good[asked.Spec.Token]
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"status": map[string]any{
			"authenticated": ok,
			"audiences":     asked.Spec.Audiences,
			"user":          map[string]any{"username": user, "uid": "uid-1", "groups": []string{"system:serviceaccounts"}},
		},
	})
}

// token makes a service account's token, like the kubelet for a pod.
func (c *cluster) token(t *testing.T, namespace, account string) string {
	t.Helper()
	part := func(v any) string {
		raw, err := json.Marshal(v)
		check(t, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	user := fmt.Sprintf("system:serviceaccount:%s:%s", namespace, account)
	token := strings.Join([]string{
		part(map[string]any{"alg": "RS256", "kid": "k"}),
		part(map[string]any{
			"iss": "https://kubernetes.default.svc", "sub": user, "aud": []string{"vault"},
			"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": fmt.Sprint(time.Now().UnixNano()),
			"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]any{"name": account, "uid": "uid-1"}},
		}),
		part("signature"),
	}, ".")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good[token] = user
	return token
}

func (c *cluster) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.good, token)
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	s, c := start(t), startCluster(t)
	s.enableAuth(t, "kubernetes")
	s.write(t, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": c.URL, "disable_local_ca_jwt": true,
		"kubernetes_ca_cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})),
	})
	s.write(t, "auth/kubernetes/role/broker", map[string]any{
		"bound_service_account_names": "chandler", "bound_service_account_namespaces": "brokers",
		"token_policies": "chandler", "token_no_default_policy": true,
	})
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		t.Helper()
		check(t, os.WriteFile(file, []byte(token), 0o600))
	}
	first := c.token(t, "brokers", "chandler")
	put(first)
	config := vault.Config{Address: s.Addr(), Auth: vault.AuthKubernetes, KubernetesRole: "broker", JWTFile: file}
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, config) })

	t.Run("token replaced by the kubelet", func(t *testing.T) {
		store := open(t, config)
		mustPut(t, store)
		c.forget(first)
		put(c.token(t, "brokers", "chandler"))
		time.Sleep(notFresh)
		check(t, s.admin.Sys().RevokePrefixWithContext(t.Context(), "auth/kubernetes/login"))
		mustServe(t, store)
	})
	for name, token := range map[string]func() string{
		"another account":   func() string { return c.token(t, "brokers", "other") },
		"another namespace": func() string { return c.token(t, "tenants", "chandler") },
		"forgotten token":   func() string { return first },
	} {
		t.Run(name, func(t *testing.T) {
			token := token()
			put(token)
			err := open(t, config).Ready(t.Context())
			if err == nil || !strings.Contains(err.Error(), "log in at auth/kubernetes") || strings.Contains(err.Error(), token) {
				t.Errorf("Ready: %v", err)
			}
		})
	}
	t.Run("no token", func(t *testing.T) {
		check(t, os.Remove(file))
		if err := open(t, config).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "VAULT_KUBERNETES_JWT_FILE") {
			t.Errorf("Ready: %v", err)
		}
	})
}
