package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services/database"
)

// session is one pinned connection of the administrator, for work on one instance under
// that instance's advisory lock.
type session struct {
	conn *sql.Conn
	// locks says whether the session may hold an advisory lock.
	locks bool
}

type lockMode string

const (
	// shared is for Bind and Unbind, which run side by side.
	shared lockMode = "pg_catalog.pg_advisory_lock_shared"
	// exclusive is for what changes the instance or its group roles.
	exclusive lockMode = "pg_catalog.pg_advisory_lock"
	// attempt takes the exclusive lock only if it is free; lockedPart tells.
	attempt lockMode = "pg_catalog.pg_try_advisory_lock"
)

// lockSpace separates this package's advisory locks from others in the administrator's
// database.
const lockSpace = 1128812612 // "CHND"

func lockCall(mode lockMode, database string) string {
	return fmt.Sprintf("%s(%d, pg_catalog.hashtext(%s))", mode, lockSpace, literal(database))
}

// locked takes the lock of the instance whose database is named and runs query in
// the same round trip. Of the replicas' reconcilers, operations and bindings that
// touch one instance's roles, one works at a time. The lock ends with release or with
// the connection.
func (b *backend) locked(ctx context.Context, mode lockMode, name, query string, scan func(*sql.Rows) error) (*session, error) {
	for idle := b.pool.Stats().Idle; ; idle-- {
		s, err := b.lockOnce(ctx, lockCall(mode, name), query, scan)
		// The query changes nothing, so that another connection may run it if a pooled
		// one died while it was idle.
		if err == nil || idle <= 0 || !disconnected(err) {
			return s, err
		}
	}
}

func (b *backend) lockOnce(ctx context.Context, lock, query string, scan func(*sql.Rows) error) (locked *session, err error) {
	conn, err := b.pool.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	s := &session{conn: conn, locks: true}
	defer func() {
		if locked == nil { // after a panic, too
			s.release(ctx)
		}
	}()
	if err := database.Ask(ctx, conn, database.Answer{Query: "SELECT " + lock}, database.Answer{Query: query, Scan: scan}); err != nil {
		return nil, err
	}
	return s, nil
}

// disconnected says whether err is the connection's end, not an answer.
func disconnected(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, driver.ErrBadConn)
}

// query runs one query and scans each of its rows.
func (s *session) query(ctx context.Context, text string, scan func(*sql.Rows) error) error {
	return database.Query(ctx, s.conn, text, scan)
}

// exec runs one statement that cannot be part of a transaction.
func (s *session) exec(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	return err
}

// transaction runs statements as one transaction, in one round trip.
func (s *session) transaction(ctx context.Context, statements ...string) error {
	return s.commit(ctx, statements, nil)
}

// last is transaction, and releases the lock in the same round trip.
func (s *session) last(ctx context.Context, statements ...string) error {
	err := s.commit(ctx, statements, []string{unlock})
	s.locks = err != nil
	return err
}

const unlock = "SELECT pg_catalog.pg_advisory_unlock_all()"

// commit runs statements as one transaction and then the others.
func (s *session) commit(ctx context.Context, statements, then []string) error {
	all := append([]string{"BEGIN"}, statements...)
	all = append(append(all, "COMMIT"), then...)
	err := s.exec(ctx, strings.Join(all, "; "))
	if err != nil {
		_ = s.exec(context.WithoutCancel(ctx), "ROLLBACK") // else the connection is broken, and not used again
	}
	return err
}

// release returns the connection to the pool without the lock, even after ctx ended.
func (s *session) release(ctx context.Context) {
	if s.locks {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := s.exec(ctx, "ROLLBACK; "+unlock); err != nil {
			s.discard()
		}
	}
	_ = s.conn.Close()
}

// discard closes the connection instead of returning it to the pool.
func (s *session) discard() {
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
}
