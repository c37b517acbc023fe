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
	opened, d := &connection{}, &dialer{}
	dialled.Dialer(d)
	defer opened.caught(&err)
	stop := context.AfterFunc(ctx, d.hangUp) // lib/pq heeds ctx only while it dials
	conn, err := dialled.Connect(ctx)
	if ended := !stop(); ended {
		if err == nil {
			_ = conn.Close()
		}
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	opened.messages, opened.link = conn.(messages), d.opened()
	return opened, nil
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return &pq.Driver{} }

// dialer remembers its connection until that is open: later ones carry cancellations.
type dialer struct {
	net.Dialer
	mu   sync.Mutex
	link net.Conn
	done bool
}

func (d *dialer) opened() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = true
	return d.link
}

// hangUp ends the opening.
func (d *dialer) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.link != nil {
		_ = d.link.Close()
	}
}

// DialContext implements pq.DialerContext.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	link, err := d.Dialer.DialContext(ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && !d.done {
		d.link = link
	}
	return link, err
}

// DialTimeout implements pq.Dialer; lib/pq prefers DialContext.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// messages is what this package uses of lib/pq's connections.
type messages interface {
	driver.Conn
	driver.QueryerContext
	driver.ExecerContext
	driver.SessionResetter
	driver.Validator
}

type connection struct {
	messages
	link   net.Conn
	broken atomic.Bool
}

// silence is how long a server may take to answer once a call's context has ended and
// lib/pq has asked it to cancel the call.
const silence = 3 * time.Second

// bounded keeps a call from waiting longer: if the server or the network is silent,
// lib/pq would wait without end. done is to be called after the call.
func (c *connection) bounded(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() { _ = c.link.SetDeadline(time.Now().Add(silence)) })
	return sync.OnceFunc(func() {
		if !stop() {
			c.broken.Store(true) // the deadline stays
		}
	})
}

// caught makes a panic of lib/pq the error of the call, without the panic's value, which
// may hold anything. How much was read is unknown, so the connection is not used again.
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
