package smb

import "github.com/chandler-broker/chandler/services/naming"

// namer names what is made on the server. All names begin with the prefix, so
// that brokers can share a server: an instance's share, folder, account and
// group have one name, a binding's account another.
type namer struct {
	prefix string // with its hyphen
	rule   naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "-"
	return namer{prefix: p, rule: naming.NewRule(p + naming.Safe)}
}

// of is the name on the server of an instance or a binding.
func (n namer) of(name string) string { return n.prefix + name }

// resource is an instance's share as operators are told of it.
func (n namer) resource(instance string) string { return "share " + n.of(instance) }
