package brokertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

// poolBackend is the backend on one of several servers.
type poolBackend struct {
	*Backend
	server string
}

// Provision implements services.Backend.
func (p poolBackend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, Params]) (services.ProvisionResult, error) {
	if err := p.useServer(r.Instance.ID); err != nil {
		return services.ProvisionResult{}, err
	}
	return p.Backend.Provision(ctx, r)
}

// Deprovision implements services.Backend.
func (p poolBackend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, Params]) (services.DeprovisionResult, error) {
	if err := p.useServer(r.Instance.ID); err != nil {
		return services.DeprovisionResult{}, err
	}
	return p.Backend.Deprovision(ctx, r)
}

// Bind implements services.Backend.
func (p poolBackend) Bind(ctx context.Context, r services.BindRequest[Plan, Params, BindParams]) (services.BindResult, error) {
	if err := p.useServer(r.Instance.ID); err != nil {
		return services.BindResult{}, err
	}
	return p.Backend.Bind(ctx, r)
}

// useServer notes that an instance was called on this server, and refuses one that is
// another's.
func (p poolBackend) useServer(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unreachable[p.server] {
		return errUnreachable
	}
	if on, ok := p.servers[id]; ok && on != p.server {
		return fmt.Errorf("instance %s is on server %s, and %s was called", id, on, p.server)
	}
	p.servers[id] = p.server
	return nil
}

// Ready implements services.Readier.
func (p poolBackend) Ready(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unreachable[p.server] {
		return errUnreachable
	}
	return nil
}

// Footprint implements services.FootprintReporter.
func (m *Backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: services.Size(p.Size) * services.Kilobyte}
}

var errUnreachable = errors.New("the server is away")

// SetUnreachable makes a server of the pool answer no more, or again.
func (m *Backend) SetUnreachable(server string, away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unreachable[server] = away
}

// ForgetServer forgets which server an instance was on, for one that is placed anew.
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
