package rabbitmq

import "github.com/chandler-broker/chandler/services/naming"

// namer names what is made on the server. All names begin with the prefix, so
// that brokers can share a server.
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

// user is the user of a binding. The instance is part of the name, so that a
// user without permissions, which a crash in a bind leaves, is still found when
// the instance goes.
func (n namer) user(instance, binding string) string {
	return n.prefix + instance + "_" + binding
}
