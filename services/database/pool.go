// Package database holds what its backends have in common.
package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Pool holds the administrator's connections to one server.
type Pool struct {
	*sql.DB
	dialect Dialect
}

// Dialect is how servers differ.
type Dialect struct {
	// Reset releases all locks of a connection, whatever its state.
	Reset string
	// Disconnected recognizes the error of a connection that ended without an answer.
	Disconnected func(error) bool
	// Explain adds what the broker was doing to an error.
	Explain func(doing string, err error) error
}

// OpenPool makes a pool of at most limit connections. It connects when it is used.
func OpenPool(c driver.Connector, limit int, idle time.Duration, d Dialect) *Pool {
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(limit)
	pool.SetMaxIdleConns(limit)
	pool.SetConnMaxIdleTime(idle)
	return &Pool{pool, d}
}

// Work takes an instance's lock and asks for its state in one round trip, and calls work.
// Of all replicas' operations and reconcilers, one works on an instance at a time. The lock
// ends with Work, even after a panic, or with the connection.
func (p *Pool) Work(ctx context.Context, work func(*Conn) error, lock Answer, state ...Answer) error {
	for idle := p.Stats().Idle; ; idle-- {
		locked, err := p.attempt(ctx, work, append([]Answer{lock}, state...))
		// The queries change nothing, so that another connection may run them if a pooled
		// one died while it was idle.
		if locked || err == nil || idle <= 0 || !p.dialect.Disconnected(err) {
			return err
		}
	}
}

func (p *Pool) attempt(ctx context.Context, work func(*Conn) error, answers []Answer) (locked bool, err error) {
	const doing = "ask the server what exists"
	conn, err := p.Conn(ctx)
	if err != nil {
		return false, p.dialect.Explain(doing, fmt.Errorf("connect to the server: %w", err))
	}
	c := &Conn{Conn: conn, Reset: p.dialect.Reset}
	defer c.Release(ctx)
	if err := Ask(ctx, conn, answers...); err != nil {
		return false, p.dialect.Explain(doing, err)
	}
	return true, work(c)
}

// Conn is one connection of the administrator.
type Conn struct {
	*sql.Conn
	// Reset releases the connection's locks; empty: it has none.
	Reset string

	pool *sql.DB // its own; nil: a Pool's
}

// Connect opens a connection that is not pooled.
func Connect(ctx context.Context, c driver.Connector) (*Conn, error) {
	pool := sql.OpenDB(c)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return &Conn{Conn: conn, pool: pool}, nil
}

// Query runs one query and scans each row of its result.
func (c *Conn) Query(ctx context.Context, query string, scan func(*sql.Rows) error) error {
	return Query(ctx, c.Conn, query, scan)
}

// Exec runs statements in one round trip; the first that fails is the last.
func (c *Conn) Exec(ctx context.Context, statements ...string) error {
	_, err := c.ExecContext(ctx, strings.Join(statements, "; "))
	return err
}

// Last is Exec for the last statements of Work: they release the locks, too.
func (c *Conn) Last(ctx context.Context, statements ...string) error {
	err := c.Exec(ctx, statements...)
	if err == nil {
		c.Reset = ""
	}
	return err
}

// Release returns the connection to its pool without locks, even after ctx ended.
func (c *Conn) Release(ctx context.Context) {
	if c.Reset != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if c.Exec(ctx, c.Reset) != nil {
			_ = c.Raw(func(any) error { return driver.ErrBadConn }) // closes it
		}
	}
	_ = c.Close()
}

// Close closes the connection, or returns it to its pool.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	if c.pool != nil {
		err = errors.Join(err, c.pool.Close())
	}
	return err
}

// SessionsEnding is the error of a call that waits for the end of sessions.
func SessionsEnding() error {
	return services.NotYet(200*time.Millisecond, "sessions are being ended")
}

// Querier is a pool or a connection.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Answer is a query, and what to do with each row of its result; nil: nothing.
type Answer struct {
	Query string
	Scan  func(*sql.Rows) error
}

// Query runs one query and scans each row of its result.
func Query(ctx context.Context, q Querier, query string, scan func(*sql.Rows) error) error {
	return Ask(ctx, q, Answer{query, scan})
}

// Ask runs queries in one round trip. Each returns one result.
func Ask(ctx context.Context, q Querier, answers ...Answer) error {
	queries := make([]string, len(answers))
	for i, a := range answers {
		queries[i] = a.Query
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
			if a.Scan == nil {
				continue
			}
			if err := a.Scan(rows); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// Into appends each row's one column to a list.
func Into[T any](list *[]T) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var value T
		err := rows.Scan(&value)
		*list = append(*list, value)
		return err
	}
}

// One scans the row of a query that returns one.
func One(values ...any) func(*sql.Rows) error {
	return func(rows *sql.Rows) error { return rows.Scan(values...) }
}

// Joined is a list of SQL expressions.
func Joined[T any](list []T, expression func(T) string) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = expression(item)
	}
	return strings.Join(texts, ", ")
}
