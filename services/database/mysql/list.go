package mysql

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
)

// List implements services.Lister. The locked accounts of bindings that are
// gone belong to the instance and are not listed.
func (b *backend) List(ctx context.Context) ([]services.Found, error) {
	var found []services.Found
	instances := map[string]bool{}
	add := func(instance, binding, resource string) {
		if binding == "" && instances[instance] {
			return
		}
		instances[instance] = instances[instance] || binding == ""
		found = append(found, services.Found{Instance: instance, Binding: binding, Resource: resource})
	}
	err := ask(ctx, b.pool,
		answer{"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA UNION SELECT database_name FROM accounts UNION SELECT name FROM full_databases ORDER BY 1",
			func(rows *sql.Rows) error {
				var database string
				if err := rows.Scan(&database); err != nil {
					return err
				}
				if instance, ours := b.names.plain(database); ours {
					add(instance, "", database)
				}
				return nil
			}},
		answer{"SELECT name, database_name FROM accounts WHERE NOT locked ORDER BY 1", func(rows *sql.Rows) error {
			var name, database string
			if err := rows.Scan(&name, &database); err != nil {
				return err
			}
			binding, _ := b.names.plain(name)
			instance, _ := b.names.plain(database)
			add(instance, binding, name)
			return nil
		}})
	return found, explain("list databases and accounts", err)
}
