// Package rabbitmq makes a virtual host per instance and a user per binding through the management
// API of RabbitMQ 3.10 or newer. README.md is the operator's page.
package rabbitmq

import (
	"context"
	"embed"
	"fmt"
	"slices"

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

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error {
	me, err := b.api.client(ctx).Whoami()
	if err != nil {
		return explain("ask the server at "+b.api.administrator.endpoint.Host+" who the administrator is", err)
	}
	if !slices.Contains(me.Tags, "administrator") {
		return fmt.Errorf("user %s lacks the tag administrator; give it: rabbitmqctl set_user_tags %s administrator", me.Name, me.Name)
	}
	return b.frames(ctx)
}

// frames reports connections with larger frames, and thus headers, than plans assume.
func (b *backend) frames(ctx context.Context) error {
	var connections []struct {
		FrameMax int64 `json:"frame_max"`
	}
	if err := b.api.get(ctx, "/api/connections?columns=frame_max", &connections); err != nil {
		return explain("ask for the frames of connections", err)
	}
	for _, c := range connections {
		if c.FrameMax > int64(b.frame) {
			return fmt.Errorf("a connection has frames of %d bytes, but frame_max is configured as %d; set frame_max = %d in the server's rabbitmq.conf and restart it, or configure the server's value here", c.FrameMax, b.frame, b.frame)
		}
	}
	return nil
}

// List implements services.Lister.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	c := b.api.client(ctx)
	vhosts, err := c.ListVhosts()
	if err != nil {
		return nil, explain("list virtual hosts", err)
	}
	users, err := c.ListUsers()
	if err != nil {
		return nil, explain("list users", err)
	}
	var found []services.Resource
	for _, v := range vhosts {
		if inst, ok := b.names.vhosts.Instance(v.Name); ok {
			found = append(found, services.Resource{Instance: inst, Name: v.Name})
		}
	}
	for _, u := range users {
		if inst, bound, ok := b.names.users.Binding(u.Name); ok {
			found = append(found, services.Resource{Instance: inst, Binding: bound, Name: u.Name})
		}
	}
	return found, nil
}

// Capacity implements services.CapacityReporter: the memory that running nodes may use before they
// block publishers (RabbitMQ documentation, "Memory Alarms"). The size of disks is unknown.
func (b *backend) Capacity(ctx context.Context) (capacity services.Capacity, err error) {
	nodes, err := b.api.client(ctx).ListNodes()
	if err != nil {
		return capacity, explain("ask the nodes how much memory they have", err)
	}
	for _, n := range nodes {
		if !n.IsRunning {
			continue
		}
		limit, used := services.Size(n.MemLimit), services.Size(n.MemUsed)
		capacity.Total.Memory += limit
		capacity.Free.Memory += max(0, limit-used)
	}
	return capacity, nil
}
