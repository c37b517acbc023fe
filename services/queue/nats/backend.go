// Package nats makes a NATS account per instance and a user per binding on servers in operator
// mode, with JetStream. README.md is the operator's page.
package nats

import (
	"context"
	"embed"
	"fmt"
	"sync"

	"github.com/chandler-broker/chandler/services"
)

// backend administers one NATS system.
type backend struct {
	keys   *keyring
	link   *link
	public clientEndpoints

	// seen is what Reconcile saw of instances, by ID; losing it costs time only.
	mu   sync.Mutex
	seen map[string]sighting
}

func open(_ context.Context, c Config) (*backend, error) {
	keys, err := c.keyring()
	if err != nil {
		return nil, err
	}
	creds, err := read("system_creds", c.SystemCreds, c.SystemCredsFile)
	if err != nil {
		return nil, err
	}
	if err := checkCreds(creds); err != nil {
		return nil, fmt.Errorf("system_creds: %w", err)
	}
	servers, err := addresses(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	public, err := c.clientEndpoints()
	if err != nil {
		return nil, err
	}
	return &backend{keys: keys, link: newLink(servers, creds, public.ca), public: public, seen: map[string]sighting{}}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.link.close()
	return nil
}

// SerialBinds implements services.SerialBinder: an account's bindings are one document.
func (b *backend) SerialBinds() bool { return true }

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "nats"

// Definition describes the backend "queue/nats".
func Definition() services.Definition {
	return services.Define("queue/nats",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
