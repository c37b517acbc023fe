package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chandler-broker/chandler/credhub/vault"
	"github.com/chandler-broker/chandler/services"
)

func TestFromEnv(t *testing.T) {
	defaults := vault.Config{
		Mount: "secret", Prefix: "chandler", Auth: "token", AppRoleMount: "approle", KubernetesMount: "kubernetes",
		JWTFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
	}
	with := func(change func(*vault.Config)) vault.Config {
		c := defaults
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		environment map[string]string
		want        vault.Config
		faults      []string
	}{
		"nothing": {nil, defaults, nil},
		"empty is nothing": {map[string]string{
			"VAULT_KV_MOUNT": "", "VAULT_KV_PREFIX": " ", "VAULT_AUTH_METHOD": "", "VAULT_SECRET_ID": "",
		}, defaults, nil},
		"token": {
			map[string]string{"VAULT_ADDR": "https://vault:8200", "VAULT_NAMESPACE": "team", "VAULT_CACERT": "/ca.pem", "VAULT_TOKEN": "hvs.x"},
			with(func(c *vault.Config) {
				c.Address, c.Namespace, c.CACert, c.Token = "https://vault:8200", "team", "/ca.pem", services.NewSecret("hvs.x")
			}), nil,
		},
		"approle": {
			map[string]string{
				"VAULT_AUTH_METHOD": "approle", "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s",
				"VAULT_APPROLE_MOUNT": "/teams/approle/", "VAULT_KV_MOUNT": "kv/", "VAULT_KV_PREFIX": "brokers/one",
			},
			with(func(c *vault.Config) {
				c.Auth, c.RoleID, c.SecretID = "approle", "r", services.NewSecret("s")
				c.AppRoleMount, c.Mount, c.Prefix = "teams/approle", "kv", "brokers/one"
			}), nil,
		},
		"approle with a file": {
			map[string]string{"VAULT_AUTH_METHOD": "approle", "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID_FILE": "/run/secret-id"},
			with(func(c *vault.Config) { c.Auth, c.RoleID, c.SecretIDFile = "approle", "r", "/run/secret-id" }), nil,
		},
		"kubernetes": {
			map[string]string{
				"VAULT_AUTH_METHOD": "kubernetes", "VAULT_KUBERNETES_ROLE": "broker",
				"VAULT_KUBERNETES_MOUNT": "k8s", "VAULT_KUBERNETES_JWT_FILE": "/token",
			},
			with(func(c *vault.Config) {
				c.Auth, c.KubernetesRole, c.KubernetesMount, c.JWTFile = "kubernetes", "broker", "k8s", "/token"
			}), nil,
		},
		"unknown method":     {map[string]string{"VAULT_AUTH_METHOD": "ldap"}, vault.Config{}, []string{`"ldap" is not one of token, approle, kubernetes`}},
		"approle of nothing": {map[string]string{"VAULT_AUTH_METHOD": "approle"}, vault.Config{}, []string{"VAULT_ROLE_ID is missing", "VAULT_SECRET_ID_FILE"}},
		"two secret IDs": {map[string]string{
			"VAULT_AUTH_METHOD": "approle", "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "hidden", "VAULT_SECRET_ID_FILE": "f",
		}, vault.Config{}, []string{"set one of VAULT_SECRET_ID and VAULT_SECRET_ID_FILE"}},
		"kubernetes without a role": {map[string]string{"VAULT_AUTH_METHOD": "kubernetes"}, vault.Config{}, []string{"VAULT_KUBERNETES_ROLE is missing"}},
		"invalid paths": {
			map[string]string{"VAULT_KV_MOUNT": "../sys", "VAULT_KV_PREFIX": "a b", "VAULT_APPROLE_MOUNT": "a?b", "VAULT_KUBERNETES_MOUNT": "a//b"},
			vault.Config{}, []string{"VAULT_KV_MOUNT", "VAULT_KV_PREFIX", "VAULT_APPROLE_MOUNT", "VAULT_KUBERNETES_MOUNT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := vault.FromEnv(func(name string) (string, bool) { v, ok := c.environment[name]; return v, ok })
			for _, fault := range c.faults {
				if err == nil || !strings.Contains(err.Error(), fault) {
					t.Errorf("got %v, want %q", err, fault)
				}
			}
			if len(c.faults) > 0 {
				if strings.Contains(fmt.Sprint(err), "hidden") {
					t.Errorf("the error contains a secret: %v", err)
				}
				if _, opened := vault.Open(t.Context(), got); opened == nil {
					t.Error("Open accepts the configuration")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			reveal := cmp.Comparer(func(a, b services.Secret) bool { return a.Reveal() == b.Reveal() })
			if diff := cmp.Diff(c.want, got, reveal, cmpopts.IgnoreFields(vault.Config{}, "Logger")); diff != "" {
				t.Errorf("the configuration differs (-want +got):\n%s", diff)
			}
			if text := fmt.Sprintf("%+v", got); strings.Contains(text, "hvs.x") {
				t.Errorf("the printed configuration contains the token: %s", text)
			}
		})
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := vault.Open(cancelled, vault.Config{Token: services.NewSecret("t")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a cancelled context: %v", err)
	}
	for name, c := range map[string]struct {
		config vault.Config
		want   string
	}{
		"no token":      {vault.Config{}, "VAULT_TOKEN is missing"},
		"no address":    {vault.Config{Address: "http://[::1", Token: services.NewSecret("t")}, "http://[::1"},
		"missing CA":    {vault.Config{CACert: "/nowhere/ca.pem", Token: services.NewSecret("t")}, "/nowhere/ca.pem"},
		"unknown login": {vault.Config{Auth: "ldap"}, "VAULT_AUTH_METHOD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("VAULT_TOKEN", "")
			if _, err := vault.Open(t.Context(), c.config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
