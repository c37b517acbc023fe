package mysql

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
)

// List implements services.Lister. An instance is its database, or the mark of one.
// The locked accounts of bindings that are gone belong to it, and are listed only
// where the database is gone too.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	var found []services.Resource
	instances := map[string]bool{}
	err := ask(ctx, b.pool,
		answer{"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA UNION SELECT name FROM full_databases ORDER BY 1",
			func(rows *sql.Rows) error {
				var database string
				if err := rows.Scan(&database); err != nil {
					return err
				}
				if instance, ours := b.names.plain(database); ours {
					instances[instance] = true
					found = append(found, services.Resource{Instance: instance, Name: database})
				}
				return nil
			}},
		answer{"SELECT name, locked, database_name FROM accounts ORDER BY 1", func(rows *sql.Rows) error {
			var name, database string
			var locked bool
			if err := rows.Scan(&name, &locked, &database); err != nil {
				return err
			}
			binding, _ := b.names.plain(name)
			instance, _ := b.names.plain(database)
			if !locked || !instances[instance] {
				found = append(found, services.Resource{Instance: instance, Binding: binding, Name: name})
			}
			return nil
		}})
	return found, explain("list databases and accounts", err)
}
