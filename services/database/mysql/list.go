package mysql

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// List implements services.Lister. An instance is its database, or the mark of one.
// The locked accounts of bindings that are gone belong to it, and are listed only
// where the database is gone too.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	var found []services.Resource
	instances := map[string]bool{}
	err := database.Ask(ctx, b.pool,
		database.Answer{Query: "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA UNION SELECT name FROM full_databases ORDER BY 1", Scan: func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			if instance, ours := b.names.rule.Instance(name); ours {
				instances[instance] = true
				found = append(found, services.Resource{Instance: instance, Name: name})
			}
			return err
		}},
		database.Answer{Query: "SELECT name, locked, database_name FROM accounts ORDER BY 1", Scan: func(rows *sql.Rows) error {
			var name, owner string
			var locked bool
			err := rows.Scan(&name, &locked, &owner)
			binding, _ := b.names.rule.Instance(name)
			instance, _ := b.names.rule.Instance(owner)
			if !locked || !instances[instance] {
				found = append(found, services.Resource{Instance: instance, Binding: binding, Name: name})
			}
			return err
		}})
	return found, explain("list databases and accounts", err)
}
