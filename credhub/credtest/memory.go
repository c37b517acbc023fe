package credtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/chandler-broker/chandler/credhub"
)

// Memory is a credential store in memory, for tests that are not about
// credential stores. It passes the suite. The zero value is empty and ready.
type Memory struct {
	mu            sync.Mutex
	values        map[credhub.Path]json.RawMessage
	down          error
	before, after func(verb string, path credhub.Path) error
}

var _ credhub.Store = (*Memory)(nil)

// Fail makes every call return an error that wraps err, as a store that is away
// would; nil makes the store serve again.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// Hooks sets what is called before and after each ensure, put, get and delete. The call
// returns a hook's error: that of before keeps it from taking effect. Either may be nil.
func (m *Memory) Hooks(before, after func(verb string, path credhub.Path) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = before, after
}

// Len returns the number of stored values.
func (m *Memory) Len() int { return len(m.Paths()) }

// Paths returns where something is stored, in order.
func (m *Memory) Paths() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	paths := make([]string, 0, len(m.values))
	for p := range m.values {
		paths = append(paths, p.String())
	}
	slices.Sort(paths)
	return paths
}

// Ensure implements credhub.Store.
func (m *Memory) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (stored json.RawMessage, err error) {
	err = m.hooked(ctx, "ensure", path, func() error {
		if m.values[path] == nil {
			if err := m.set(path, value); err != nil {
				return err
			}
		}
		stored = bytes.Clone(m.values[path])
		return nil
	})
	return stored, err
}

// Put implements credhub.Store.
func (m *Memory) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	return m.hooked(ctx, "put", path, func() error { return m.set(path, value) })
}

// Change implements credhub.Store.
func (m *Memory) Change(ctx context.Context, path credhub.Path, change func(json.RawMessage) (json.RawMessage, error)) error {
	return m.locked(ctx, func() error {
		value, err := change(bytes.Clone(m.values[path]))
		if err != nil {
			return err
		}
		return m.set(path, value)
	})
}

// Get implements credhub.Store.
func (m *Memory) Get(ctx context.Context, path credhub.Path) (stored json.RawMessage, err error) {
	err = m.hooked(ctx, "get", path, func() error {
		if m.values[path] == nil {
			return fmt.Errorf("%s: %w", path, credhub.ErrNotFound)
		}
		stored = bytes.Clone(m.values[path])
		return nil
	})
	return stored, err
}

// Delete implements credhub.Store.
func (m *Memory) Delete(ctx context.Context, path credhub.Path) error {
	return m.hooked(ctx, "delete", path, func() error { delete(m.values, path); return nil })
}

// Ready implements credhub.Store.
func (m *Memory) Ready(ctx context.Context) error {
	return m.locked(ctx, func() error { return nil })
}

func (m *Memory) hooked(ctx context.Context, verb string, path credhub.Path, f func() error) error {
	m.mu.Lock()
	before, after := m.before, m.after
	m.mu.Unlock()
	if before != nil {
		if err := before(verb, path); err != nil {
			return err
		}
	}
	if err := m.locked(ctx, f); err != nil || after == nil {
		return err
	}
	return after(verb, path)
}

func (m *Memory) locked(ctx context.Context, f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("credential store in memory: %w", err)
	}
	if m.down != nil {
		return fmt.Errorf("credential store in memory: %w", m.down)
	}
	return f()
}

func (m *Memory) set(path credhub.Path, value json.RawMessage) error {
	if err := credhub.CheckValue(value); err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	if m.values == nil {
		m.values = map[credhub.Path]json.RawMessage{}
	}
	m.values[path] = bytes.Clone(value)
	return nil
}
