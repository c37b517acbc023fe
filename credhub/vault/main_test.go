package vault_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

// TestMain runs more tests at once than there are processors, because most of them wait
// for the end of a token.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// server is a real Vault for one test, and its administrator.
type server struct {
	*embedded.Vault
	admin *api.Client
}

func start(t *testing.T) server {
	t.Helper()
	return administer(t, embeddedtest.Vault(t, nil))
}

func administer(t *testing.T, v *embedded.Vault) server {
	t.Helper()
	config := &api.Config{Address: v.Addr()}
	if v.CAFile() != "" {
		config = api.DefaultConfig()
		config.Address = v.Addr()
		if err := config.ConfigureTLS(&api.TLSConfig{CACert: v.CAFile()}); err != nil {
			t.Fatal(err)
		}
	}
	admin, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	admin.SetToken(v.RootToken())
	s := server{v, admin}
	policy, err := os.ReadFile(filepath.Join("..", "..", "deploy", "vault", "chandler-policy.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Sys().PutPolicyWithContext(t.Context(), "chandler", string(policy)); err != nil {
		t.Fatal(err)
	}
	return s
}

// write writes as the administrator.
func (s server) write(t *testing.T, path string, data map[string]any) *api.Secret {
	t.Helper()
	secret, err := s.admin.Logical().WriteWithContext(t.Context(), path, data)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// token makes a token that has only the shipped policy.
func (s server) token(t *testing.T, more map[string]any) string {
	t.Helper()
	request := map[string]any{"policies": []string{"chandler"}, "no_default_policy": true, "no_parent": true}
	for k, v := range more {
		request[k] = v
	}
	return s.write(t, "auth/token/create", request).Auth.ClientToken
}

// withToken is a configuration with a token that has only the shipped policy.
func (s server) withToken(t *testing.T) vault.Config {
	t.Helper()
	return vault.Config{Address: s.Addr(), CACert: s.CAFile(), Token: services.NewSecret(s.token(t, nil))}
}

// withAppRole enables AppRole with a role for the shipped policy.
func (s server) withAppRole(t *testing.T, role map[string]any) vault.Config {
	t.Helper()
	s.enableAuth(t, "approle")
	parameters := map[string]any{"token_policies": "chandler", "token_no_default_policy": true}
	for k, v := range role {
		parameters[k] = v
	}
	s.write(t, "auth/approle/role/broker", parameters)
	id, err := s.admin.Logical().ReadWithContext(t.Context(), "auth/approle/role/broker/role-id")
	if err != nil {
		t.Fatal(err)
	}
	return vault.Config{
		Address: s.Addr(), CACert: s.CAFile(), Auth: vault.AuthAppRole,
		RoleID: id.Data["role_id"].(string), SecretID: services.NewSecret(s.secretID(t)),
	}
}

func (s server) secretID(t *testing.T) string {
	t.Helper()
	return s.write(t, "auth/approle/role/broker/secret-id", nil).Data["secret_id"].(string)
}

func (s server) enableAuth(t *testing.T, method string) {
	t.Helper()
	if err := s.admin.Sys().EnableAuthWithOptionsWithContext(t.Context(), method, &api.EnableAuthOptions{Type: method}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, c vault.Config) *vault.Store {
	t.Helper()
	s, err := vault.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // Vault may be away on purpose
	return s
}

var (
	path  = credhub.SeedPath("instance", "binding")
	value = json.RawMessage(`{"seed":"c2VlZA=="}`)
)

func mustPut(t *testing.T, s credhub.Store) {
	t.Helper()
	if err := s.Put(t.Context(), path, value); err != nil {
		t.Fatal(err)
	}
}

func mustServe(t *testing.T, s credhub.Store) {
	t.Helper()
	if err := s.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	got, err := s.Get(t.Context(), path)
	if err != nil || !strings.Contains(string(got), "c2VlZA==") {
		t.Fatalf("Get: %s, %v", got, err)
	}
}

// mustFail requires that every method fails quickly with an error that contains words.
func mustFail(t *testing.T, s credhub.Store, words string) {
	t.Helper()
	begin := time.Now()
	_, ensured := s.Ensure(t.Context(), path, value)
	_, gotten := s.Get(t.Context(), path)
	for method, err := range map[string]error{
		"Ensure": ensured, "Get": gotten, "Put": s.Put(t.Context(), path, value),
		"Delete": s.Delete(t.Context(), path), "Ready": s.Ready(t.Context()),
	} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", method, err, words)
		} else if strings.Contains(err.Error(), "c2VlZA==") || strings.Contains(err.Error(), "\n") && method != "Ready" {
			t.Errorf("%s: the error contains the value or several lines: %q", method, err)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("five failures take %v, want less", took)
	}
}

// soon waits until f returns nil.
func soon(t *testing.T, f func(context.Context) error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
