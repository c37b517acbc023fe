package mysql

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the server. All names begin with the prefix, so
// that brokers can share a server; administrator.sql knows the same rule.
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

// pattern is a database's name in GRANT and its tables, where an underscore without a
// backslash stands for any character.
func pattern(database string) string { return strings.ReplaceAll(database, "_", `\_`) }

// lockName names the lock of an instance. GET_LOCK takes no rights: a tenant who could
// guess the name could take the lock and block the broker.
func lockName(password services.Secret, database string) string {
	h := hmac.New(sha256.New, []byte(password.Reveal()))
	h.Write([]byte(database)) // never fails
	return "chandler-" + hex.EncodeToString(h.Sum(nil)[:24])
}

// ident and literal quote for SQL text. Statements are sent as text, not with
// parameters: that is one round trip for several statements.
func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'"
}

func literals(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = literal(v)
	}
	return strings.Join(quoted, ", ")
}
