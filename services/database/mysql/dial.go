package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
)

// dial opens a session as an application does: with go-sql-driver/mysql and
// the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	config, err := clientConfig(credentials)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that the driver understands") // err might quote it
	}
	pool := sql.OpenDB(connector)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), pool.Close())
	}
	return &client{pool, conn}, nil
}

// clientConfig reads the uri, and what the credentials say of TLS.
func clientConfig(credentials map[string]any) (*mysql.Config, error) {
	uri, _ := credentials["uri"].(string)
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "mysql" || u.User == nil {
		return nil, errors.New("the credentials' uri is not mysql://user:password@host:port/database") // err would quote it
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	c.Logger = &mysql.NopLogger{} // errors are returned, too
	if encrypted, _ := credentials["tls"].(bool); encrypted {
		s := server{tls: tlsRequire}
		if s.ca, _ = credentials["ca"].(string); s.ca != "" {
			s.tls = tlsVerify
		}
		c.TLS = s.tlsConfig(u.Hostname())
	}
	return c, nil
}

// client is an application's session: one connection, never replaced by
// another.
type client struct {
	pool *sql.DB
	conn *sql.Conn
}

// The table's columns have a character set of their own, so that any key fits
// into a database of whatever character set.
const (
	createProbe = `CREATE TABLE IF NOT EXISTS chandler_probe (name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
		value LONGTEXT CHARACTER SET utf8mb4 NOT NULL)`
	upsert = `INSERT INTO chandler_probe (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)`
)

// Write implements services.Session.
func (c *client) Write(ctx context.Context, key, value string) error {
	_, err := c.conn.ExecContext(ctx, upsert, key, value)
	if !is(err, noSuchTable) {
		return err
	}
	if _, err = c.conn.ExecContext(ctx, createProbe); err != nil && !is(err, tableExists) { // another session was faster
		return err
	}
	_, err = c.conn.ExecContext(ctx, upsert, key, value)
	return err
}

// Read implements services.Session.
func (c *client) Read(ctx context.Context, key string) (string, error) {
	var value string
	err := c.conn.QueryRowContext(ctx, `SELECT value FROM chandler_probe WHERE name = ?`, key).Scan(&value)
	return value, err
}

// Ping implements services.Session.
func (c *client) Ping(ctx context.Context) error { return c.conn.PingContext(ctx) }

// Close implements services.Session.
func (c *client) Close() error { return errors.Join(c.conn.Close(), c.pool.Close()) }
