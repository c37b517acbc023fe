package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The whole suite runs with only the shipped policy.
func TestSuite(t *testing.T) {
	t.Parallel()
	s := start(t)
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, s.withToken(t)) })
}

func TestSuiteWithAppRole(t *testing.T) {
	t.Parallel()
	s := start(t)
	config := s.withAppRole(t, nil)
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, config) })
}

// An operator may require check-and-set for all writes.
func TestSuiteWhereCheckAndSetIsRequired(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.write(t, "secret/config", map[string]any{"cas_required": true})
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, s.withToken(t)) })
}

func TestMountAndPrefix(t *testing.T) {
	t.Parallel()
	s := start(t)
	kv := &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}
	if err := s.admin.Sys().MountWithContext(t.Context(), "platform/kv", kv); err != nil {
		t.Fatal(err)
	}
	store := open(t, vault.Config{
		Address: s.Addr(), Token: services.NewSecret(s.RootToken()), Mount: "/platform/kv/", Prefix: "brokers/one",
	})
	soon(t, func(ctx context.Context) error { return store.Put(ctx, path, value) }) // a young engine refuses for a second
	mustServe(t, store)
	kept, err := s.admin.KVv2("platform/kv").Get(t.Context(), "brokers/one/"+path.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"seed": "c2VlZA=="}, kept.Data); diff != "" {
		t.Errorf("an operator reads (-want +got):\n%s", diff)
	}
}

func TestDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, s.withToken(t))
	for range 3 {
		mustPut(t, store)
	}
	if err := store.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.KVv2("secret").GetMetadata(t.Context(), "chandler/"+path.String()); !errors.Is(err, api.ErrSecretNotFound) {
		t.Errorf("metadata: %v", err)
	}
	for v := 1; v <= 3; v++ {
		if found, err := s.admin.KVv2("secret").GetVersion(t.Context(), "chandler/"+path.String(), v); !errors.Is(err, api.ErrSecretNotFound) {
			t.Errorf("version %d: %v, %v", v, found, err)
		}
	}
}

// After an operator's `vault kv delete` the value is absent and can be created again.
// Check-and-set must name the deleted version.
func TestDeletedByAnOperator(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*testing.T, server){
		"deleted": func(t *testing.T, s server) {
			if err := s.admin.KVv2("secret").Delete(t.Context(), "chandler/"+path.String()); err != nil {
				t.Fatal(err)
			}
		},
		"destroyed": func(t *testing.T, s server) {
			if err := s.admin.KVv2("secret").Destroy(t.Context(), "chandler/"+path.String(), []int{2}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			store := open(t, s.withToken(t))
			mustPut(t, store)
			mustPut(t, store)
			remove(t, s)
			if got, err := store.Get(t.Context(), path); !errors.Is(err, credhub.ErrNotFound) || got != nil {
				t.Errorf("Get: %s, %v", got, err)
			}
			anew := json.RawMessage(`{"seed":"YW5ldw=="}`)
			if got, err := store.Ensure(t.Context(), path, anew); err != nil || string(got) != string(anew) {
				t.Errorf("Ensure: %s, %v", got, err)
			}
			if got, err := store.Ensure(t.Context(), path, value); err != nil || !strings.Contains(string(got), "YW5ldw==") {
				t.Errorf("Ensure again: %s, %v", got, err)
			}
		})
	}
}

func TestPolicyAllowsNothingElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.write(t, "secret/data/other/secret", map[string]any{"data": map[string]any{"a": "b"}})
	mustPut(t, open(t, s.withToken(t)))
	client, err := api.NewClient(&api.Config{Address: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(s.token(t, nil))
	logical, ctx := client.Logical(), t.Context()
	_, readOther := logical.ReadWithContext(ctx, "secret/data/other/secret")
	_, readSibling := logical.ReadWithContext(ctx, "secret/data/chandler2/secret")
	_, list := logical.ListWithContext(ctx, "secret/metadata/chandler/instances")
	_, softDelete := logical.DeleteWithContext(ctx, "secret/data/chandler/"+path.String())
	_, createToken := logical.WriteWithContext(ctx, "auth/token/create", nil)
	for what, err := range map[string]error{
		"reads outside the prefix": readOther, "reads a prefix that begins alike": readSibling, "lists": list,
		"deletes recoverably": softDelete, "makes tokens": createToken,
	} {
		if answered, ok := errors.AsType[*api.ResponseError](err); !ok || answered.StatusCode != 403 {
			t.Errorf("the shipped policy %s: %v", what, err)
		}
	}
}

func TestSealedAndUnsealed(t *testing.T) {
	t.Parallel()
	s := start(t)
	store := open(t, s.withToken(t))
	mustPut(t, store)
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustFail(t, store, "sealed")
	if err := s.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, store.Ready)
	mustServe(t, store)
}

func TestRestartedAndKilled(t *testing.T) {
	t.Parallel()
	s := start(t)
	given, loggedIn := open(t, s.withToken(t)), open(t, s.withAppRole(t, nil))
	mustPut(t, loggedIn)
	for range 2 {
		s.Kill()
		mustFail(t, given, "cannot be reached")
		mustFail(t, loggedIn, "cannot be reached")
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		soon(t, given.Ready)
		mustServe(t, given)
		mustServe(t, loggedIn)
	}
}

// A broker that starts while Vault is away or sealed needs no restart.
func TestOpenedWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm  func(*testing.T, server)
		words string
	}{
		"down":   {func(_ *testing.T, s server) { s.Kill() }, "cannot be reached"},
		"sealed": {func(t *testing.T, s server) { check(t, s.Seal(t.Context())) }, "sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			configs := []vault.Config{s.withToken(t), s.withAppRole(t, nil)}
			mustPut(t, open(t, configs[0]))
			c.harm(t, s)
			for _, config := range configs {
				mustFail(t, open(t, config), c.words)
			}
			late := open(t, configs[1])
			check(t, s.Restart(t.Context()))
			soon(t, late.Ready)
			mustServe(t, late)
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A Vault that accepts the connection and does not answer must not block a worker.
func TestVaultThatHangs(t *testing.T) {
	t.Setenv(api.EnvVaultClientTimeout, "1")
	address := servicetest.Listen(t, servicetest.Hangs)
	store := open(t, vault.Config{Address: "http://" + address, Token: services.NewSecret("t")})
	begin := time.Now()
	_, err := store.Get(t.Context(), path)
	if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "does not answer in time") || took > 20*time.Second {
		t.Errorf("Get returns after %v: %v, want an error within 20 s", took, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v: the caller's context has not ended", err)
	}
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := start(t)
	check(t, s.admin.Sys().PutPolicyWithContext(t.Context(), "reader", `
		path "secret/data/chandler/*" { capabilities = ["read"] }
		path "sys/capabilities-self" { capabilities = ["update"] }`))
	check(t, s.admin.Sys().PutPolicyWithContext(t.Context(), "elsewhere", `
		path "nowhere/data/chandler/*" { capabilities = ["create", "read", "update"] }
		path "nowhere/metadata/chandler/*" { capabilities = ["delete"] }
		path "old/data/chandler/*" { capabilities = ["create", "read", "update"] }
		path "old/metadata/chandler/*" { capabilities = ["delete"] }
		path "sys/capabilities-self" { capabilities = ["update"] }`))
	check(t, s.admin.Sys().MountWithContext(t.Context(), "old", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	elsewhere := s.token(t, map[string]any{"policies": []string{"elsewhere"}})
	for name, c := range map[string]struct {
		config vault.Config
		want   []string
	}{
		"token unknown":       {vault.Config{Token: services.NewSecret("s.unknown")}, []string{"refuses the token"}},
		"permissions missing": {vault.Config{Token: services.NewSecret(s.token(t, map[string]any{"policies": []string{"reader"}}))}, []string{"create, update on secret/data/chandler/*", "delete on secret/metadata/chandler/*", "chandler-policy.hcl"}},
		"no policy at all":    {vault.Config{Token: services.NewSecret(s.token(t, map[string]any{"policies": []string{"none"}}))}, []string{"its policy does not allow"}},
		"mount missing":       {vault.Config{Mount: "nowhere", Token: services.NewSecret(elsewhere)}, []string{"no KV engine of version 2 is mounted at nowhere/"}},
		"mount of version 1":  {vault.Config{Mount: "old", Token: services.NewSecret(elsewhere)}, []string{"no KV engine of version 2 is mounted at old/"}},
		"other prefix":        {vault.Config{Prefix: "other", Token: services.NewSecret(s.token(t, nil))}, []string{"secret/data/other/*"}},
		"secret ID unknown": {vault.Config{Auth: vault.AuthAppRole, RoleID: "r", SecretID: services.NewSecret("hidden-secret-id")},
			[]string{"log in at auth/approle"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Address = s.Addr()
			err := open(t, c.config).Ready(t.Context())
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Ready: %v, want %q", err, want)
				}
			}
			if err != nil && (strings.Contains(err.Error(), elsewhere) || strings.Contains(err.Error(), "hidden")) {
				t.Errorf("the error of Ready contains a secret: %v", err)
			}
		})
	}
}

// The store must not return ErrNotFound if no engine is mounted: the broker would make a
// new seed for a binding that has one.
func TestMissingMountIsNotNotFound(t *testing.T) {
	t.Parallel()
	s := start(t)
	check(t, s.admin.Sys().MountWithContext(t.Context(), "old", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
	for _, mount := range []string{"nowhere", "old"} {
		t.Run(mount, func(t *testing.T) {
			store := open(t, vault.Config{Address: s.Addr(), Mount: mount, Token: services.NewSecret(s.RootToken())})
			_, ensured := store.Ensure(t.Context(), path, value)
			if ensured == nil || store.Put(t.Context(), path, value) == nil {
				t.Error("Put succeeds")
			}
			if mount == "nowhere" {
				if _, err := store.Get(t.Context(), path); err == nil || errors.Is(err, credhub.ErrNotFound) {
					t.Errorf("Get: %v", err)
				}
				if err := store.Delete(t.Context(), path); err == nil {
					t.Error("Delete succeeds")
				}
			}
		})
	}
}
