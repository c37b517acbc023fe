package brokertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

var errUnreachable = errors.New("the server is away")

// Ready implements services.Readier. It fails if the server with an empty name is unreachable.
func (m *Backend) Ready(context.Context) error { return m.useServer("", "") }

// onServer makes the backend one of several servers.
func (m *Backend) onServer(server string) services.Around {
	return func(ctx context.Context, i services.Invocation, next func(context.Context) error) error {
		if !i.Local {
			if err := m.useServer(server, i.Instance()); err != nil {
				return err
			}
		}
		return next(ctx)
	}
}

// useServer records that an instance was called on a server. It fails if the server is
// unreachable, or the instance is on another one.
func (m *Backend) useServer(server, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unreachable[server] {
		return errUnreachable
	}
	if id == "" {
		return nil
	}
	if on, ok := m.servers[id]; ok && on != server {
		return fmt.Errorf("instance %s is on server %s, and %s was called", id, on, server)
	}
	m.servers[id] = server
	return nil
}

// SetUnreachable makes a server of the pool answer no more, or again.
func (m *Backend) SetUnreachable(server string, unreachable bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unreachable[server] = unreachable
}

// ForgetServer forgets which server an instance was on, for one that is placed again.
func (m *Backend) ForgetServer(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.servers, id)
}

// Server returns the server of the pool that the instance was called on.
func (m *Backend) Server(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.servers[id]
}
