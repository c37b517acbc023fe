package postgres

import (
	"context"
	"database/sql/driver"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

// connector opens connections on which a server's nonsense and silence are errors. lib/pq
// trusts what a message says of its own length and content, and panics if that is wrong
// (github.com/golang/vulndb/issues/6170); in database/sql's own goroutines, a panic ends
// the process.
type connector struct{ config pq.Config }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (_ driver.Conn, err error) {
	dialled, err := pq.NewConnectorConfig(c.config)
	if err != nil {
		return nil, err
	}
	opened := &connection{}
	dialled.Dialer(opened)
	defer opened.caught(&err)
	stop := context.AfterFunc(ctx, func() { // lib/pq heeds ctx only while it dials
		if link := opened.link.Load(); link != nil {
			_ = (*link).Close()
		}
	})
	conn, err := dialled.Connect(ctx)
	if !stop() {
		if err == nil {
			_ = conn.Close()
		}
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	opened.messages = conn.(messages)
	opened.open.Store(true)
	return opened, nil
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return &pq.Driver{} }

// messages are the methods of lib/pq's connections that this package uses.
type messages interface {
	driver.Conn
	driver.QueryerContext
	driver.ExecerContext
	driver.SessionResetter
	driver.Validator
}

// connection dials its own link. Links that are dialled when it is open carry cancellations.
type connection struct {
	messages
	net.Dialer
	link         atomic.Pointer[net.Conn]
	open, broken atomic.Bool
}

// DialContext implements pq.DialerContext.
func (c *connection) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	link, err := c.Dialer.DialContext(ctx, network, address)
	if err == nil && !c.open.Load() {
		c.link.Store(&link)
	}
	return link, err
}

// DialTimeout implements pq.Dialer; lib/pq prefers DialContext.
func (c *connection) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout(network, address, timeout) //nolint:noctx // not called
}

// silence is how long a server may take to cancel a call whose context has ended.
const silence = 3 * time.Second

// bounded keeps a call from waiting longer: lib/pq waits for a silent server without end. done
// is to be called after the call.
func (c *connection) bounded(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() { _ = (*c.link.Load()).SetDeadline(time.Now().Add(silence)) })
	return sync.OnceFunc(func() {
		if !stop() {
			c.broken.Store(true) // the deadline stays
		}
	})
}

// caught makes a panic of lib/pq an error without the panic's value, which may hold anything.
func (c *connection) caught(err *error) {
	if fault := recover(); fault != nil {
		c.broken.Store(true)
		*err = fmt.Errorf("the reply is not PostgreSQL's protocol, or was garbled on the way (%T)", fault)
	}
}

// IsValid implements driver.Validator.
func (c *connection) IsValid() bool { return !c.broken.Load() && c.messages.IsValid() }

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (_ driver.Result, err error) {
	if c.broken.Load() {
		return nil, driver.ErrBadConn
	}
	defer c.bounded(ctx)()
	defer c.caught(&err)
	return c.messages.ExecContext(ctx, query, args)
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (_ driver.Rows, err error) {
	if c.broken.Load() {
		return nil, driver.ErrBadConn
	}
	done := c.bounded(ctx)
	defer func() {
		if err != nil {
			done()
		}
	}()
	defer c.caught(&err)
	answer, err := c.messages.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &rows{answer.(driver.RowsNextResultSet), c, done}, nil
}

type rows struct {
	driver.RowsNextResultSet
	conn *connection
	done func()
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

// Close implements driver.Rows. It reads the rest of the answer.
func (r *rows) Close() (err error) {
	defer r.done()
	if r.conn.broken.Load() {
		return nil
	}
	defer r.conn.caught(&err)
	return r.RowsNextResultSet.Close()
}
