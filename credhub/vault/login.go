package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/vault/api"
)

// login is a way to get a token: what Vault says of it, its lifetime first.
type login func(ctx context.Context) (*api.SecretAuth, error)

func loginWith(c Config, all clients) login {
	switch c.Auth {
	case AuthAppRole:
		return func(ctx context.Context) (*api.SecretAuth, error) {
			secret := c.SecretID.Reveal()
			if c.SecretIDFile != "" {
				var err error
				if secret, err = readSecret("VAULT_SECRET_ID_FILE", c.SecretIDFile); err != nil {
					return nil, err
				}
			}
			return exchange(ctx, all.login, c.AppRoleMount, map[string]any{"role_id": c.RoleID, "secret_id": secret})
		}
	case AuthKubernetes:
		return func(ctx context.Context) (*api.SecretAuth, error) {
			jwt, err := readSecret("VAULT_KUBERNETES_JWT_FILE", c.JWTFile)
			if err != nil {
				return nil, err
			}
			return exchange(ctx, all.login, c.KubernetesMount, map[string]any{"role": c.KubernetesRole, "jwt": jwt})
		}
	default:
		return func(ctx context.Context) (*api.SecretAuth, error) { return lookUp(ctx, all.session) }
	}
}

// exchange logs in at an auth method.
func exchange(ctx context.Context, client *api.Client, mount string, proof map[string]any) (*api.SecretAuth, error) {
	secret, err := client.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", proof)
	if err = plain(ctx, client.Address(), err); isRefused(err, http.StatusForbidden) {
		err = errors.New("Vault refuses the login (HTTP 403): look at what the role is bound to")
	}
	if err != nil {
		return nil, fmt.Errorf("log in at auth/%s: %w", mount, err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return nil, fmt.Errorf("log in at auth/%s: Vault gives no token: is it the mount of that method?", mount)
	}
	return secret.Auth, nil
}

// lookUp asks Vault what a token that was given to us is worth.
func lookUp(ctx context.Context, client *api.Client) (*api.SecretAuth, error) {
	secret, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("look the token up: %w", plain(ctx, client.Address(), err))
	}
	seconds, _ := secret.Data["ttl"].(json.Number)
	ttl, err := seconds.Int64()
	if err != nil {
		return nil, fmt.Errorf("look the token up: Vault does not say how long it lives: %w", err)
	}
	renewable, _ := secret.Data["renewable"].(bool)
	return &api.SecretAuth{ClientToken: client.Token(), LeaseDuration: int(ttl), Renewable: renewable}, nil
}

func readSecret(variable, path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", variable, err)
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		return "", fmt.Errorf("%s: %s is empty", variable, path)
	}
	return secret, nil
}
