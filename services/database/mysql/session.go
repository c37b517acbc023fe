package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
)

// session is one connection of the administrator, pinned, for work on one
// instance under that instance's lock. Statements of administration commit at
// once, so nothing of it is a transaction: every order of steps is chosen so
// that any beginning of it can be gone on with.
type session struct{ conn *sql.Conn }

// patience is how long to wait for an instance's lock; attempt does not wait.
const (
	patience = 10 * time.Second
	attempt  = 0
)

// errBusy says that somebody else holds an instance's lock.
var errBusy = errors.New("another process is at work on this database; it is tried again")

const unlock = "DO RELEASE_ALL_LOCKS()"

// locked takes the lock of a database and asks queries in the same round trip.
// Of two replicas' keepers, operations and bindings of one instance, one works
// at a time. The lock ends with release or with the connection, whichever
// comes first.
func (b *backend) locked(ctx context.Context, wait time.Duration, database string, answers ...answer) (*session, error) {
	var got sql.NullInt64
	lock := fmt.Sprintf("SELECT GET_LOCK(%s, %d)", literal(lockName(b.password, database)), int(wait.Seconds()))
	answers = append([]answer{{lock, func(rows *sql.Rows) error { return rows.Scan(&got) }}}, answers...)
	for idle := b.pool.Stats().Idle; ; idle-- {
		conn, err := b.pool.Conn(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to the server: %w", err)
		}
		s := &session{conn}
		if err = s.ask(ctx, answers...); err == nil && got.Int64 != 1 {
			err = errBusy
		}
		if err == nil {
			return s, nil
		}
		s.release(ctx)
		// A pooled connection that died while idle is no failed call; this
		// query changed nothing, so the next connection may take it.
		if idle <= 0 || !disconnected(err) {
			return nil, err
		}
	}
}

// answer is a query, and what to do with each row of its result.
type answer struct {
	query string
	scan  func(*sql.Rows) error
}

// ask asks queries in one round trip. Each returns one result.
func (s *session) ask(ctx context.Context, answers ...answer) error {
	return ask(ctx, s.conn, answers...)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func ask(ctx context.Context, q querier, answers ...answer) error {
	queries := make([]string, len(answers))
	for i, a := range answers {
		queries[i] = a.query
	}
	rows, err := q.QueryContext(ctx, strings.Join(queries, "; "))
	if err != nil {
		return err
	}
	defer rows.Close()
	for i, a := range answers {
		if i > 0 && !rows.NextResultSet() {
			break
		}
		for rows.Next() {
			if err := a.scan(rows); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// exec runs statements in one round trip; the first that fails is the last.
func (s *session) exec(ctx context.Context, statements ...string) error {
	_, err := s.conn.ExecContext(ctx, strings.Join(statements, "; "))
	return err
}

// endSessions ends the sessions of accounts by one of the procedures
// end_sessions and close_account, and returns how many are left.
func (s *session) endSessions(ctx context.Context, procedure string, accounts []string) (left int, err error) {
	answers := make([]answer, len(accounts))
	for i, account := range accounts {
		answers[i] = answer{call(procedure, account), func(rows *sql.Rows) error {
			var n int
			err := rows.Scan(&n)
			left += n
			return err
		}}
	}
	if len(answers) == 0 {
		return 0, nil
	}
	return left, s.ask(ctx, answers...)
}

// call is the text of a call of one of administrator.sql's procedures.
func call(procedure string, args ...string) string {
	return "CALL " + procedure + "(" + literals(args) + ")"
}

// within is a statement with a time limit in seconds.
func within(seconds, statement string) string {
	return "SET STATEMENT max_statement_time = " + seconds + " FOR " + statement
}

// release gives the lock and the connection back, also after ctx has ended.
func (s *session) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.exec(ctx, unlock); err != nil { // what the connection is in nobody knows
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	s.done()
}

// done gives the connection back whose lock was given back by a statement.
func (s *session) done() { _ = s.conn.Close() }
