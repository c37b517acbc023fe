package manila

import "github.com/chandler-broker/chandler/services/naming"

var safe = naming.NewRule(naming.Safe)

// namer names shares and cephx identities. Projects are named by services/openstack.
type namer struct {
	prefix string // such as "c-share-"
	cephx  naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "-" + kind + "-"
	return namer{p, naming.NewRule(p + naming.Safe)}
}

// identity is the cephx identity of a binding. All tenants of the Ceph cluster share the namespace
// of identities; a Binding.Name cannot be guessed without the platform's IDs.
func (n namer) identity(binding string) string { return n.prefix + binding }

// bindings returns the Binding.Names that an access rule serves.
func (n namer) bindings(r rule) []string {
	if r.AccessType == cephx {
		if binding, ok := n.cephx.Instance(r.AccessTo); ok {
			return []string{binding}
		}
		return nil
	}
	return r.holders()
}
