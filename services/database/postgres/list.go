package postgres

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

var _ services.Namer[Plan, InstanceParams] = (*backend)(nil)

// List implements services.Lister. Group roles without their database are what is
// left of an instance, and so are roles that were set aside of a binding; spares
// are nobody's and not listed.
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
		r := b.found(holder, role)
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

// found reads names back: holder is a database or a group role, role a
// binding's or empty.
func (b *backend) found(holder, role string) services.Resource {
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
