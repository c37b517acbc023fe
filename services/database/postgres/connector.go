package postgres

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync/atomic"

	"github.com/lib/pq"
)

// connector opens connections on which nonsense from a server is an error. lib/pq
// believes what a message says of its own length and content, and panics where
// that is wrong (github.com/golang/vulndb/issues/6170); database/sql calls it from
// goroutines of its own, too, in which a panic ends the process.
type connector struct{ pq *pq.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (_ driver.Conn, err error) {
	opened := &connection{}
	defer opened.caught(&err)
	conn, err := c.pq.Connect(ctx)
	if err != nil {
		return nil, err
	}
	opened.messages = conn.(messages)
	return opened, nil
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.pq.Driver() }

// messages is what this package uses of lib/pq's connections: it prepares no
// statements and begins transactions by hand.
type messages interface {
	driver.Conn
	driver.QueryerContext
	driver.ExecerContext
	driver.SessionResetter
	driver.Validator
}

type connection struct {
	messages
	broken atomic.Bool
}

// caught makes a panic of lib/pq the error of the call, without the panic's value,
// which may hold anything. Nobody knows what was read by then, so the connection
// is not used again: lib/pq would wait for answers on it.
func (c *connection) caught(err *error) {
	if fault := recover(); fault != nil {
		c.broken.Store(true)
		*err = fmt.Errorf("what answers does not speak PostgreSQL's protocol, or something between garbles it (%T)", fault)
	}
}

// IsValid implements driver.Validator.
func (c *connection) IsValid() bool { return !c.broken.Load() && c.messages.IsValid() }

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (_ driver.Result, err error) {
	if c.broken.Load() {
		return nil, driver.ErrBadConn
	}
	defer c.caught(&err)
	return c.messages.ExecContext(ctx, query, args)
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (_ driver.Rows, err error) {
	if c.broken.Load() {
		return nil, driver.ErrBadConn
	}
	defer c.caught(&err)
	answer, err := c.messages.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &rows{answer.(driver.RowsNextResultSet), c}, nil
}

type rows struct {
	driver.RowsNextResultSet
	conn *connection
}

// Next implements driver.Rows.
func (r *rows) Next(values []driver.Value) (err error) {
	defer r.conn.caught(&err)
	return r.RowsNextResultSet.Next(values)
}

// NextResultSet implements driver.RowsNextResultSet.
func (r *rows) NextResultSet() (err error) {
	defer r.conn.caught(&err)
	return r.RowsNextResultSet.NextResultSet()
}

// Close implements driver.Rows. What is left of the answer is read in it.
func (r *rows) Close() (err error) {
	if r.conn.broken.Load() {
		return nil
	}
	defer r.conn.caught(&err)
	return r.RowsNextResultSet.Close()
}
