package mysql

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services/database"
)

// state is what exists of an instance on the server.
type state struct {
	database string
	exists   bool
	accounts []account
	// full says whether the instance is marked as having used up its storage,
	// ended whether the sessions that might still write were ended since.
	full, ended bool
}

// account is a binding's. A locked one belongs to a removed binding: it stays for what it
// defines, see unbind.go.
type account struct {
	name   string
	locked bool
	rights rights
}

// rights are what administrator.sql's set_rights knows.
type rights string

const (
	fullRights rights = "full"
	// overRights are for a database that has used up its storage: to read, to
	// delete, truncate and drop, not to write.
	overRights rights = "over"
	readRights rights = "read"
)

// writes says whether the account is of a read_write binding.
func (a account) writes() bool { return a.rights == fullRights || a.rights == overRights }

// begin takes the instance's lock and reads its state, in one round trip.
func (b *backend) begin(ctx context.Context, wait time.Duration, name string) (*session, *state, error) {
	st := &state{database: name}
	s, err := b.locked(ctx, wait, name,
		database.Answer{Query: existence(name), Scan: database.One(&st.exists)},
		database.Answer{Query: "SELECT name, locked, rights FROM accounts WHERE pattern = " + literal(pattern(name)), Scan: func(rows *sql.Rows) error {
			var a account
			err := rows.Scan(&a.name, &a.locked, &a.rights)
			st.accounts = append(st.accounts, a)
			return err
		}},
		database.Answer{Query: "SELECT sessions_ended FROM full_databases WHERE name = " + literal(name), Scan: func(rows *sql.Rows) error {
			st.full = true
			return rows.Scan(&st.ended)
		}})
	if err != nil {
		return nil, nil, explain("ask the server what exists", err)
	}
	return s, st, nil
}

// existence asks whether a database exists.
func existence(name string) string {
	return "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = " + literal(name)
}

// named returns the names of the wanted accounts.
func (st *state) named(wanted func(account) bool) []string {
	var found []string
	for _, a := range st.accounts {
		if wanted(a) {
			found = append(found, a.name)
		}
	}
	slices.Sort(found)
	return found
}

func anybody(account) bool { return true }

func (a account) live() bool { return !a.locked }
