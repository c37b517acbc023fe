package postgres

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

var _ services.Namer[Plan, InstanceParams] = (*backend)(nil)

// List implements services.Lister. Group roles without their database are what is
// left of an instance, and so are roles that were set aside of a binding; spares
// are nobody's and not listed.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	rows, err := b.pool.QueryContext(ctx, `SELECT datname, '' FROM pg_catalog.pg_database WHERE datname ~ `+literal(b.names.single.String())+`
		UNION SELECT rolname, '' FROM pg_catalog.pg_roles WHERE rolname ~ `+literal(b.names.grouped.String())+`
		UNION SELECT '', rolname FROM pg_catalog.pg_roles WHERE rolname ~ `+literal(b.names.revoked.String())+`
		UNION SELECT coalesce(min(g.rolname), ''), m.rolname FROM pg_catalog.pg_roles m
			LEFT JOIN (pg_catalog.pg_auth_members am JOIN pg_catalog.pg_roles g ON g.oid = am.roleid AND g.rolname ~ `+literal(b.names.grouped.String())+`)
			ON am.member = m.oid
			WHERE m.rolname ~ `+literal(b.names.single.String())+` GROUP BY m.rolname
		ORDER BY 1, 2`)
	if err != nil {
		return nil, explain("list databases and roles", err)
	}
	defer rows.Close()
	var found []services.Resource
	seen := map[string]bool{}
	for rows.Next() {
		var holder, role string
		if err := rows.Scan(&holder, &role); err != nil {
			return nil, explain("list databases and roles", err)
		}
		f := b.found(holder, role)
		if f.Binding == "" && seen[f.Instance] {
			continue
		}
		seen[f.Instance] = seen[f.Instance] || f.Binding == ""
		found = append(found, f)
	}
	return found, explain("list databases and roles", rows.Err())
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.names.instance(inst.Name).database }

// found reads names back: holder is a database or a group role, role a
// binding's or empty.
func (b *backend) found(holder, role string) services.Resource {
	inst, whole := b.names.instanceOf(holder)
	if !whole {
		inst, _ = b.names.instanceOfGroup(holder)
	}
	if role == "" {
		return services.Resource{Instance: inst, Name: holder, Leftover: !whole}
	}
	if id, revoked := submatch(b.names.revoked, role); revoked {
		return services.Resource{Binding: id, Name: role, Leftover: true}
	}
	bound, _ := b.names.instanceOf(role)
	return services.Resource{Instance: inst, Binding: bound, Name: role}
}
