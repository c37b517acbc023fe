package vault

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/services/cafile"
)

// requestTimeout is short: whoever waits retries, and a Vault that hangs must
// not hold the broker's workers. VAULT_CLIENT_TIMEOUT changes it.
const requestTimeout = 5 * time.Second

// clients are the same Vault with different headers.
type clients struct {
	// session has the token.
	session *api.Client
	// login has no token.
	login *api.Client
	// root has neither token nor namespace: a namespace has no state of its
	// own to be asked about.
	root *api.Client
}

// newClients makes the clients. It fails for a configuration that cannot work,
// never because Vault is away.
func newClients(c Config) (clients, error) {
	config := api.DefaultConfig() // reads the environment
	if config.Error != nil {
		return clients{}, fmt.Errorf("vault: the VAULT_ variables: %w", config.Error)
	}
	if os.Getenv(api.EnvVaultClientTimeout) == "" {
		config.Timeout = requestTimeout
	}
	config.MaxRetries = 0
	if transport, ok := config.HttpClient.Transport.(*http.Transport); ok {
		// The default is a handful, and the workers would dial for every call.
		transport.MaxIdleConnsPerHost = 32
	}
	if c.Address != "" {
		config.Address, config.AgentAddress = c.Address, ""
	}
	if c.CACert != "" {
		authorities, err := cafile.ReadFile("VAULT_CACERT", c.CACert)
		if err != nil {
			return clients{}, fmt.Errorf("vault: %w", err)
		}
		if err := config.ConfigureTLS(&api.TLSConfig{CACertBytes: []byte(authorities)}); err != nil {
			return clients{}, fmt.Errorf("vault: VAULT_CACERT: %w", err)
		}
	}
	base, err := api.NewClient(config)
	if err != nil {
		return clients{}, fmt.Errorf("vault: %w", err)
	}
	if c.Namespace != "" {
		base.SetNamespace(c.Namespace)
	}
	return withTokens(base, c)
}

func withTokens(base *api.Client, c Config) (clients, error) {
	token := c.Token.Reveal()
	if token == "" {
		token = base.Token()
	}
	base.ClearToken()
	all := clients{session: base.WithNamespace(base.Namespace()), login: base, root: base.WithNamespace("")}
	if c.Auth == AuthToken {
		if token == "" {
			return clients{}, errors.New("vault: VAULT_TOKEN is missing: set it, or VAULT_AUTH_METHOD to approle or kubernetes")
		}
		all.session.SetToken(token)
	}
	return all, nil
}
