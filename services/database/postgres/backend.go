package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/lib/pq"
)

// backend administers one server. It keeps no state, and asks the server what exists.
type backend struct {
	admin  pq.Config
	server server
	names  namer
	pool   *sql.DB
	guard  *guard
}

func open(_ context.Context, c Config) (*backend, error) {
	admin, err := c.administrator()
	if err != nil {
		return nil, err
	}
	server, err := c.server(admin)
	if err != nil {
		return nil, err
	}
	admin = hardened(admin)
	pool := sql.OpenDB(connector{admin})
	pool.SetMaxOpenConns(c.MaxConnections)
	pool.SetMaxIdleConns(c.MaxConnections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return &backend{admin: admin, server: server, names: newNamer(c.Prefix), pool: pool, guard: &guard{}}, nil
}

// hardened pins the settings on which the administrator's sessions rely. Sessions in
// tenants' databases pin all others, too (tenant).
func hardened(c pq.Config) pq.Config {
	c = c.Clone()
	c.ApplicationName = "chandler"
	c.ConnectTimeout = connectTimeout
	if c.Runtime == nil {
		c.Runtime = map[string]string{}
	}
	for name, value := range map[string]string{
		"search_path":                         "pg_catalog",
		"role":                                "none",
		"default_transaction_read_only":       "off",
		"default_transaction_isolation":       "read committed",
		"standard_conforming_strings":         "on",
		"synchronous_commit":                  "on",
		"check_function_bodies":               "off",
		"row_security":                        "on",
		"statement_timeout":                   "30s",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "60s",
		// A broker that vanished must not hold its locks for hours.
		"tcp_keepalives_idle":     "20",
		"tcp_keepalives_interval": "5",
		"tcp_keepalives_count":    "4",
	} {
		c.Runtime[name] = value
	}
	return c
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.guard.mu.Lock()
	defer b.guard.mu.Unlock()
	b.closeGuard()
	return b.pool.Close()
}

// dialSession opens a session that is not pooled.
func dialSession(ctx context.Context, c pq.Config) (*session, func(), error) {
	pool := sql.OpenDB(connector{c})
	conn, err := pool.Conn(ctx)
	if err != nil {
		_ = pool.Close() // nothing is open in it
		return nil, nil, err
	}
	return &session{conn: conn}, func() { _ = conn.Close(); _ = pool.Close() }, nil
}
