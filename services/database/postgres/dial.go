package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services"
)

// dial opens a session as an application does: with lib/pq and the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	uri, _ := credentials["uri"].(string)
	connector, err := pq.NewConnector(uri)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that lib/pq understands") // err would quote it
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), pool.Close())
	}
	return &client{pool, conn}, nil
}

// client is an application's session: one connection, never replaced by
// another.
type client struct {
	pool *sql.DB
	conn *sql.Conn
}

const upsert = `INSERT INTO chandler_probe (key, value) VALUES ($1, $2)
	ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value`

// Write implements services.Session.
func (c *client) Write(ctx context.Context, key, value string) error {
	_, err := c.conn.ExecContext(ctx, upsert, key, value)
	if !is(err, undefinedTable) {
		return err
	}
	_, err = c.conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS chandler_probe (key text PRIMARY KEY, value text NOT NULL)`)
	if err != nil && !is(err, uniqueViolation, duplicateTable) { // another session was faster
		return err
	}
	_, err = c.conn.ExecContext(ctx, upsert, key, value)
	return err
}

// Read implements services.Session.
func (c *client) Read(ctx context.Context, key string) (string, error) {
	var value string
	err := c.conn.QueryRowContext(ctx, `SELECT value FROM chandler_probe WHERE key = $1`, key).Scan(&value)
	return value, err
}

// Ping implements services.Session.
func (c *client) Ping(ctx context.Context) error { return c.conn.PingContext(ctx) }

// Close implements services.Session.
func (c *client) Close() error { return errors.Join(c.conn.Close(), c.pool.Close()) }
