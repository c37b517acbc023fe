// Package rabbitmq makes a virtual host per instance and a user per binding through the management
// API of RabbitMQ 3.10 or newer. README.md is the operator's page.
package rabbitmq

import (
	"context"
	"embed"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
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
	_ services.Reconciler[Plan, InstanceParams]    = (*backend)(nil)
	_ services.CapacityReporter                    = (*backend)(nil)
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

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials, as client libraries know it.
const credentialType = "rabbitmq"

// Definition describes the backend "queue/rabbitmq".
func Definition() services.Definition {
	return services.Define("queue/rabbitmq",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}

// namer names what is made on the server. The prefix lets brokers share a server.
type namer struct {
	prefix        string // with its underscore
	vhosts, users naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "_"
	return namer{prefix: p, vhosts: naming.NewRule(p + naming.Safe), users: naming.NewRule(p + naming.Safe + "_" + naming.Safe)}
}

// vhost is the virtual host of an instance.
func (n namer) vhost(instance string) string { return n.prefix + instance }

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.names.vhost(inst.Name) }

// user is a binding's user. Its name tells the instance, because a crash in a bind may leave a
// user without permissions, which must go with the instance.
func (n namer) user(instance, binding string) string {
	return n.prefix + instance + "_" + binding
}
