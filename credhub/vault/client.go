package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/services/cafile"
)

// requestTimeout is short, because callers retry and a Vault that hangs must not block the
// broker's workers. VAULT_CLIENT_TIMEOUT changes it.
const requestTimeout = 5 * time.Second

// clients are clients of one Vault: session has the token, login has none, and root has
// neither a token nor a namespace, because a namespace has no seal status.
type clients struct{ session, login, root *api.Client }

// newClients makes the clients. It fails if the configuration is invalid, not if Vault is
// away.
func newClients(c Config) (clients, error) {
	config := api.DefaultConfig() // reads the environment
	if config.Error != nil {
		return clients{}, fmt.Errorf("the VAULT_ variables: %w", config.Error)
	}
	if os.Getenv(api.EnvVaultClientTimeout) == "" {
		config.Timeout = requestTimeout
	}
	config.MaxRetries = 0
	if transport, ok := config.HttpClient.Transport.(*http.Transport); ok {
		// with the default, a handful, the workers would dial for most calls
		transport.MaxIdleConnsPerHost = 32
	}
	if c.Address != "" {
		config.Address, config.AgentAddress = c.Address, ""
	}
	if c.CACert != "" {
		authorities, err := cafile.ReadFile("VAULT_CACERT", c.CACert)
		if err != nil {
			return clients{}, err
		}
		if err := config.ConfigureTLS(&api.TLSConfig{CACertBytes: []byte(authorities)}); err != nil {
			return clients{}, fmt.Errorf("VAULT_CACERT: %w", err)
		}
	}
	base, err := api.NewClient(config)
	if err != nil {
		return clients{}, err
	}
	if c.Namespace != "" {
		base.SetNamespace(c.Namespace)
	}
	token := cmp.Or(c.Token.Reveal(), base.Token())
	base.ClearToken()
	all := clients{session: base.WithNamespace(base.Namespace()), login: base, root: base.WithNamespace("")}
	if c.Auth == AuthToken {
		if token == "" {
			return clients{}, errors.New("VAULT_TOKEN is missing: set it, or VAULT_AUTH_METHOD to approle or kubernetes")
		}
		all.session.SetToken(token)
	}
	return all, nil
}

// login is a way to get a token. It returns what Vault says about the token.
type login func(ctx context.Context) (*api.SecretAuth, error)

func loginWith(c Config, all clients) login {
	switch c.Auth {
	case AuthAppRole:
		return func(ctx context.Context) (*api.SecretAuth, error) {
			secret, err := c.SecretID.Reveal(), error(nil)
			if c.SecretIDFile != "" {
				secret, err = readSecret("VAULT_SECRET_ID_FILE", c.SecretIDFile)
			}
			if err != nil {
				return nil, err
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
		err = errors.New("Vault refuses the login (HTTP 403): check what the role is bound to")
	}
	if err != nil {
		return nil, fmt.Errorf("log in at auth/%s: %w", mount, err)
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return nil, fmt.Errorf("log in at auth/%s: Vault returned no token: is it the mount of that method?", mount)
	}
	return secret.Auth, nil
}

// lookUp asks Vault about the token from the configuration.
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
