package rabbitmq

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// backend administers one server. It keeps no state, and asks the server what exists.
type backend struct {
	api    *api
	server server
	names  namer
	frame  services.Size // how large the headers of a message may be
}

var (
	_ services.Readier                             = (*backend)(nil)
	_ services.Lister                              = (*backend)(nil)
	_ services.UpdateChecker[Plan, InstanceParams] = (*backend)(nil)
	_ services.Closer                              = (*backend)(nil)
)

func open(_ context.Context, c Config) (*backend, error) {
	admin, err := c.administrator()
	if err != nil {
		return nil, err
	}
	server, err := c.server(admin)
	if err != nil {
		return nil, err
	}
	return &backend{api: newAPI(c, admin, server.CA), server: server, names: newNamer(c.Prefix), frame: services.Size(c.FrameMax)}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.api.transport.CloseIdleConnections()
	return nil
}
