package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the server. The prefix lets brokers share a server.
type namer struct {
	prefix                           string // with its underscore
	single, grouped, revoked, spares naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "_"
	return namer{
		prefix:  p,
		single:  naming.NewRule(p + naming.Safe),
		grouped: naming.NewRule(p + naming.Safe + `_(owner|reader|over|sessions|restore)`),
		revoked: naming.NewRule(p + `revoked_` + naming.Safe),
		spares:  naming.NewRule(p + `spare_([a-z2-7]+)`),
	}
}

// names are the names of one instance's database and group roles.
type names struct {
	database string
	// owner owns the database and all in it; read_write bindings act as it.
	owner string
	// reader may read all that owner makes; read_only bindings belong to it.
	reader string
	// overQuota may read and delete; it exists while an instance is over quota, and the
	// read_write bindings belong to it then.
	overQuota string
	// sessions is a member of the bindings' roles, and owns the functions that show and end
	// their sessions.
	sessions string
	// restorer restores a copy, as a member of owner. It exists meanwhile.
	restorer string
}

func (n namer) instance(name string) names { return namesOf(n.prefix + name) }

func namesOf(database string) names {
	return names{database, database + "_owner", database + "_reader", database + "_over", database + "_sessions", database + "_restore"}
}

func (n names) groups() []string {
	return []string{n.owner, n.reader, n.overQuota, n.sessions, n.restorer}
}

// role is a binding's role, the user name of the application.
func (n namer) role(bindingName string) string { return n.prefix + bindingName }

func (n namer) spare(id string) string { return n.prefix + "spare_" + id }

// revokedRole is the name of a role that is revoked and cannot be dropped yet.
func (n namer) revokedRole(id string) string { return n.prefix + "revoked_" + id }

// randomID is an id for spares and revoked roles.
func randomID() string { return strings.ToLower(rand.Text()) }

// ident and literal quote for statements without parameters, several of which take a round trip.
func ident(name string) string { return pq.QuoteIdentifier(name) }

func literal(s string) string { return strings.TrimSpace(pq.QuoteLiteral(s)) }

func idents(names []string) string { return database.Joined(names, ident) }

func literals(values []string) string { return database.Joined(values, literal) }

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// List implements services.Lister. Group roles without their database are an instance's
// leftovers, and roles that were set aside are a binding's.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	var found []services.Resource
	seen := map[string]bool{}
	err := database.Query(ctx, b.pool, `SELECT datname, '' FROM pg_catalog.pg_database WHERE datname ~ `+literal(b.names.single.String())+`
		UNION SELECT rolname, '' FROM pg_catalog.pg_roles WHERE rolname ~ `+literal(b.names.grouped.String())+`
		UNION SELECT '', rolname FROM pg_catalog.pg_roles WHERE rolname ~ `+literal(b.names.revoked.String())+`
		UNION SELECT coalesce(min(g.rolname), ''), m.rolname FROM pg_catalog.pg_roles m
			LEFT JOIN (pg_catalog.pg_auth_members am JOIN pg_catalog.pg_roles g ON g.oid = am.roleid AND g.rolname ~ `+literal(b.names.grouped.String())+`)
			ON am.member = m.oid
			WHERE m.rolname ~ `+literal(b.names.single.String())+` GROUP BY m.rolname
		ORDER BY 1, 2`, func(rows *sql.Rows) error {
		var holder, role string
		err := rows.Scan(&holder, &role)
		r := b.resource(holder, role)
		if r.Binding != "" || !seen[r.Instance] {
			found = append(found, r)
		}
		seen[r.Instance] = seen[r.Instance] || r.Binding == ""
		return err
	})
	return found, explain("list databases and roles", err)
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.names.instance(inst.Name).database }

// resource reads names back: holder is a database or a group role, role a binding's or empty.
func (b *backend) resource(holder, role string) services.Resource {
	inst, whole := b.names.single.Instance(holder)
	if !whole {
		inst, _ = b.names.grouped.Instance(holder)
	}
	if role == "" {
		return services.Resource{Instance: inst, Name: holder, Leftover: !whole}
	}
	if id, revoked := b.names.revoked.Instance(role); revoked {
		return services.Resource{Binding: id, Name: role, Leftover: true}
	}
	bound, _ := b.names.single.Instance(role)
	return services.Resource{Instance: inst, Binding: bound, Name: role}
}
