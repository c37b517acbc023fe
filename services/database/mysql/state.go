package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services/database"
)

// state is what exists of an instance on the server.
type state struct {
	database string
	exists   bool
	accounts []account
	// full marks an instance over quota, ended that its sessions were ended since.
	full, ended bool
}

// account is a binding's. A locked one is a removed binding's, and stays for what it defines.
type account struct {
	name   string
	locked bool
	// copies says that it is the instance's copier, which is at work.
	copies bool
	rights rights
}

// rights are what administrator.sql's set_rights knows.
type rights string

const (
	fullRights rights = "full"
	// overQuotaRights are to read, delete, truncate and drop.
	overQuotaRights rights = "over"
	readRights      rights = "read"
)

// writes says whether the account is of a read_write binding.
func (a account) writes() bool {
	return !a.copies && (a.rights == fullRights || a.rights == overQuotaRights)
}

// work runs do under the instance's lock, with its state.
func (b *backend) work(ctx context.Context, wait time.Duration, name string, do func(*session, *state) error) error {
	states, answers := b.stateOf(name)
	return b.locked(ctx, wait, name, func(s *session) error { return do(s, states[name]) }, answers...)
}

// stateOf returns the states of databases, and the queries that fill them.
func (b *backend) stateOf(databases ...string) (map[string]*state, []database.Answer) {
	states, patterns := map[string]*state{}, make([]string, len(databases))
	for i, name := range databases {
		states[name] = &state{database: name}
		patterns[i] = pattern(name)
	}
	var name string
	return states, []database.Answer{
		{Query: "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN (" + literals(databases) + ")", Scan: func(rows *sql.Rows) error {
			err := rows.Scan(&name)
			if st := states[name]; st != nil { // nil for a name in another case, which the collation finds, too
				st.exists = true
			}
			return err
		}},
		{Query: "SELECT database_name, name, locked, rights FROM accounts WHERE pattern IN (" + literals(patterns) + ")", Scan: func(rows *sql.Rows) error {
			var a account
			err := rows.Scan(&name, &a.name, &a.locked, &a.rights)
			a.copies = a.name == name && !a.locked
			states[name].accounts = append(states[name].accounts, a)
			return err
		}},
		{Query: "SELECT name, sessions_ended FROM full_databases WHERE name IN (" + literals(databases) + ")", Scan: func(rows *sql.Rows) error {
			var ended bool
			err := rows.Scan(&name, &ended)
			states[name].full, states[name].ended = true, ended
			return err
		}},
	}
}

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

func (a account) live() bool { return !a.locked && !a.copies }

// session is one connection of the administrator. Administrative statements commit at once, in
// an order in which a repeated call can continue after any of them.
type session struct{ *database.Conn }

// patience is how long to wait for an instance's lock; ifFree does not wait.
const (
	patience = 10 * time.Second
	ifFree   = 0
)

// errBusy says that another session holds an instance's lock.
var errBusy = errors.New("another process works on this database; the broker retries")

const unlock = "DO RELEASE_ALL_LOCKS()"

// locked runs do under the lock of a database, with the results of queries.
func (b *backend) locked(ctx context.Context, wait time.Duration, name string, do func(*session) error, state ...database.Answer) error {
	return b.pool.Work(ctx, func(c *database.Conn) error { return do(&session{c}) }, b.lock(wait, name), state...)
}

// lock is the query that takes the lock of a database.
func (b *backend) lock(wait time.Duration, name string) database.Answer {
	return database.Answer{
		Query: fmt.Sprintf("SELECT GET_LOCK(%s, %d)", literal(lockName(b.password, name)), int(wait.Seconds())),
		Scan: func(rows *sql.Rows) error {
			var got sql.NullInt64
			if err := rows.Scan(&got); err != nil || got.Int64 == 1 {
				return err
			}
			return errBusy
		},
	}
}

// endSessions ends the sessions of accounts by the procedure end_sessions or close_account.
func (s *session) endSessions(ctx context.Context, procedure string, accounts []string) error {
	if len(accounts) == 0 {
		return nil
	}
	left := 0
	answers := make([]database.Answer, len(accounts))
	for i, account := range accounts {
		answers[i] = database.Answer{Query: call(procedure, account), Scan: func(rows *sql.Rows) error {
			var sessions int
			err := rows.Scan(&sessions)
			left += sessions
			return err
		}}
	}
	err := database.Ask(ctx, s, answers...)
	if err == nil && left > 0 {
		return database.SessionsEnding()
	}
	return err
}

// call is the text of a call of one of administrator.sql's procedures.
func call(procedure string, args ...string) string {
	return "CALL " + procedure + "(" + literals(args) + ")"
}

// within is a statement with a time limit in seconds.
func within(seconds, statement string) string {
	return "SET STATEMENT max_statement_time = " + seconds + " FOR " + statement
}
