package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services/database"
)

// session is one pinned connection of the administrator, for work on one instance under that
// instance's lock. Administrative statements commit at once, so that there are no
// transactions: steps are ordered so that a repeated call can continue after any of them.
type session struct{ conn *sql.Conn }

// patience is how long to wait for an instance's lock; attempt does not wait.
const (
	patience = 10 * time.Second
	attempt  = 0
)

// errBusy says that another session holds an instance's lock.
var errBusy = errors.New("another process works on this database; the broker retries")

const unlock = "DO RELEASE_ALL_LOCKS()"

// locked takes the lock of a database and runs queries in the same round trip. Of the
// replicas' reconcilers, operations and bindings of one instance, one works at a time. The
// lock ends with release or with the connection.
func (b *backend) locked(ctx context.Context, wait time.Duration, name string, answers ...database.Answer) (*session, error) {
	var got sql.NullInt64
	lock := fmt.Sprintf("SELECT GET_LOCK(%s, %d)", literal(lockName(b.password, name)), int(wait.Seconds()))
	answers = append([]database.Answer{{Query: lock, Scan: database.One(&got)}}, answers...)
	for idle := b.pool.Stats().Idle; ; idle-- {
		conn, err := b.pool.Conn(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to the server: %w", err)
		}
		s := &session{conn}
		if err = database.Ask(ctx, conn, answers...); err == nil && got.Int64 != 1 {
			err = errBusy
		}
		if err == nil {
			return s, nil
		}
		s.release(ctx)
		// The query changes nothing, so that another connection may run it if a pooled
		// one died while it was idle.
		if idle <= 0 || !disconnected(err) {
			return nil, err
		}
	}
}

// exec runs statements in one round trip; the first that fails is the last.
func (s *session) exec(ctx context.Context, statements ...string) error {
	_, err := s.conn.ExecContext(ctx, strings.Join(statements, "; "))
	return err
}

// endSessions ends the sessions of accounts by one of the procedures
// end_sessions and close_account, and returns how many are left.
func (s *session) endSessions(ctx context.Context, procedure string, accounts []string) (left int, err error) {
	if len(accounts) == 0 {
		return 0, nil
	}
	var counts []int
	answers := make([]database.Answer, len(accounts))
	for i, account := range accounts {
		answers[i] = database.Answer{Query: call(procedure, account), Scan: database.Into(&counts)}
	}
	err = database.Ask(ctx, s.conn, answers...)
	for _, n := range counts {
		left += n
	}
	return left, err
}

// call is the text of a call of one of administrator.sql's procedures.
func call(procedure string, args ...string) string {
	return "CALL " + procedure + "(" + literals(args) + ")"
}

// within is a statement with a time limit in seconds.
func within(seconds, statement string) string {
	return "SET STATEMENT max_statement_time = " + seconds + " FOR " + statement
}

// release releases the lock and the connection, even after ctx ended.
func (s *session) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.exec(ctx, unlock); err != nil { // the connection's state is unknown
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	s.done()
}

// done releases a connection whose lock a statement has released.
func (s *session) done() { _ = s.conn.Close() }
