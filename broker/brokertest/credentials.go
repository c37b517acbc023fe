package brokertest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/chandler-broker/chandler/credhub"
)

// Credentials is a credential store in memory that passes credtest.
type Credentials struct {
	mu     sync.Mutex
	values map[string]json.RawMessage
	down   error
}

// NewCredentials makes an empty store.
func NewCredentials() *Credentials { return &Credentials{values: map[string]json.RawMessage{}} }

// Fail makes every call fail with err, until it is nil again.
func (c *Credentials) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = err
}

// Len returns how many values are stored.
func (c *Credentials) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.values)
}

func (c *Credentials) locked(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return c.down
	}
	return f()
}

// Ensure implements credhub.Store.
func (c *Credentials) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (stored json.RawMessage, err error) {
	err = c.locked(ctx, func() error {
		if _, ok := c.values[path.String()]; !ok {
			c.values[path.String()] = append(json.RawMessage{}, value...)
		}
		stored = c.values[path.String()]
		return nil
	})
	return stored, err
}

// Put implements credhub.Store.
func (c *Credentials) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	return c.locked(ctx, func() error {
		c.values[path.String()] = append(json.RawMessage{}, value...)
		return nil
	})
}

// Get implements credhub.Store.
func (c *Credentials) Get(ctx context.Context, path credhub.Path) (value json.RawMessage, err error) {
	err = c.locked(ctx, func() error {
		var ok bool
		if value, ok = c.values[path.String()]; !ok {
			return fmt.Errorf("%s: %w", path, credhub.ErrNotFound)
		}
		return nil
	})
	return value, err
}

// Delete implements credhub.Store.
func (c *Credentials) Delete(ctx context.Context, path credhub.Path) error {
	return c.locked(ctx, func() error {
		delete(c.values, path.String())
		return nil
	})
}

// Ready implements credhub.Store.
func (c *Credentials) Ready(ctx context.Context) error {
	return c.locked(ctx, func() error { return nil })
}
