package postgres

import (
	"crypto/rand"
	"strings"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the server. All names begin with the prefix, so
// that brokers can share a server.
type namer struct {
	prefix                   string // with its underscore
	single, grouped, revoked naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "_"
	return namer{
		prefix:  p,
		single:  naming.NewRule(p + naming.Safe),
		grouped: naming.NewRule(p + naming.Safe + `_(owner|reader|over|sessions)`),
		revoked: naming.NewRule(p + `revoked_` + naming.Safe),
	}
}

// names are the names of one instance's database and group roles.
type names struct {
	database string
	// owner owns the database and all in it; read_write bindings act as it.
	owner string
	// reader may read all that owner makes; read_only bindings belong to it.
	reader string
	// over may read and delete, not write; it exists while an instance is over its
	// quota, and the read_write bindings belong to it then.
	over string
	// sessions is a member of the bindings' roles, and owns the functions that
	// show and end their sessions.
	sessions string
}

func (n namer) instance(name string) names {
	base := n.prefix + name
	return names{database: base, owner: base + "_owner", reader: base + "_reader", over: base + "_over", sessions: base + "_sessions"}
}

func (n names) groups() []string { return []string{n.owner, n.reader, n.over, n.sessions} }

// role is a binding's role, the user name of the application.
func (n namer) role(bindingName string) string { return n.prefix + bindingName }

// spare is a fresh name for a spare database.
func (n namer) spare() string { return n.prefix + "spare_" + strings.ToLower(rand.Text()) }

// setAside is a fresh name for a role that is revoked and cannot be dropped yet.
func (n namer) setAside() string { return n.revokedRole(strings.ToLower(rand.Text())) }

func (n namer) revokedRole(id string) string { return n.prefix + "revoked_" + id }

// ident and literal quote for SQL text. Statements are sent as text, not with
// parameters: several take one round trip then, instead of two each.
func ident(name string) string { return pq.QuoteIdentifier(name) }

func literal(s string) string { return strings.TrimSpace(pq.QuoteLiteral(s)) }

func idents(names []string) string { return joined(names, ident) }

func literals(values []string) string { return joined(values, literal) }

func joined(list []string, quote func(string) string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}
