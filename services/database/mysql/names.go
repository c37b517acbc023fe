package mysql

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the server, by the same rule as administrator.sql.
type namer struct {
	prefix string // with its underscore
	rule   naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "_"
	return namer{prefix: p, rule: naming.NewRule(p + naming.Safe)}
}

// database is an instance's database, account a binding's user name.
func (n namer) database(instance string) string { return n.prefix + instance }

func (n namer) account(binding string) string { return n.prefix + binding }

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.names.database(inst.Name) }

// pattern is a database's name in GRANT, where an underscore without a backslash stands for
// any character.
func pattern(database string) string { return strings.ReplaceAll(database, "_", `\_`) }

// lockName names the lock of an instance so that no tenant can guess it: GET_LOCK takes no
// rights, and would block the broker.
func lockName(password services.Secret, database string) string {
	h := hmac.New(sha256.New, []byte(password.Reveal()))
	h.Write([]byte(database)) // never fails
	return "chandler-" + hex.EncodeToString(h.Sum(nil)[:24])
}

// ident and literal quote for statements without parameters, several of which take a round trip.
func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

func literals(values []string) string {
	return database.Joined(values, literal)
}

// List implements services.Lister. An instance is its database, or the mark of one. The locked
// accounts of removed bindings belong to it, and are listed only without it.
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
			if name == owner { // the copier is the instance's
				binding = ""
			}
			if binding == "" && !instances[instance] || binding != "" && (!locked || !instances[instance]) {
				found = append(found, services.Resource{Instance: instance, Binding: binding, Name: name})
			}
			return err
		}})
	return found, explain("list databases and accounts", err)
}
