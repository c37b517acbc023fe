package nats

import (
	"context"
	"fmt"
	"sync"
)

// backend administers one NATS system. What exists is asked of the servers each
// time.
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
	admin, err := systemUser(creds)
	if err != nil {
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
	l, err := newLink(servers, admin, public.ca)
	if err != nil {
		return nil, err
	}
	return &backend{keys: keys, link: l, public: public, seen: map[string]sighting{}}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error { return b.link.close() }

// SerialBinds implements services.SerialBinder: an account's bindings are one
// document, which is read and written as a whole.
func (b *backend) SerialBinds() bool { return true }
