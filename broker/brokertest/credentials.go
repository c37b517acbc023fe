package brokertest

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
)

// Credentials is a credential store in memory that passes credtest and fails
// where the test says.
type Credentials struct {
	credtest.Memory

	mu            sync.Mutex
	before, after func(verb string, path credhub.Path) error
}

var _ credhub.Store = (*Credentials)(nil)

// NewCredentials makes an empty store.
func NewCredentials() *Credentials { return &Credentials{} }

// Hooks sets what is called before and after each ensure, put, get and delete:
// an error of the first keeps it from happening, one of the second is told
// although it happened. Either may be nil.
func (c *Credentials) Hooks(before, after func(verb string, path credhub.Path) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, c.after = before, after
}

// Len returns how many values are stored.
func (c *Credentials) Len() int { return len(c.Paths()) }

func (c *Credentials) hooked(verb string, path credhub.Path, do func() error) error {
	c.mu.Lock()
	before, after := c.before, c.after
	c.mu.Unlock()
	if before != nil {
		if err := before(verb, path); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if after != nil {
		return after(verb, path)
	}
	return nil
}

// Ensure implements credhub.Store.
func (c *Credentials) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (stored json.RawMessage, err error) {
	err = c.hooked("ensure", path, func() error {
		stored, err = c.Memory.Ensure(ctx, path, value)
		return err
	})
	return stored, err
}

// Put implements credhub.Store.
func (c *Credentials) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	return c.hooked("put", path, func() error { return c.Memory.Put(ctx, path, value) })
}

// Get implements credhub.Store.
func (c *Credentials) Get(ctx context.Context, path credhub.Path) (stored json.RawMessage, err error) {
	err = c.hooked("get", path, func() error {
		stored, err = c.Memory.Get(ctx, path)
		return err
	})
	return stored, err
}

// Delete implements credhub.Store.
func (c *Credentials) Delete(ctx context.Context, path credhub.Path) error {
	return c.hooked("delete", path, func() error { return c.Memory.Delete(ctx, path) })
}
