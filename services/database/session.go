package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// Session is an application's session: one connection, never replaced by another.
// It implements services.Session with rows of a table.
type Session struct {
	Conn  *sql.Conn
	pool  *sql.DB
	probe Probe
}

// Probe are the statements of a session. Create makes the table of keys and values;
// Upsert and Select take a key, Upsert a value too.
type Probe struct {
	Create, Upsert, Select string
	// Missing recognizes the error of Upsert where there is no table, Exists that of
	// Create where another session was faster.
	Missing, Exists func(error) bool
}

// Dial opens a session.
func Dial(ctx context.Context, c driver.Connector, p Probe) (*Session, error) {
	pool := sql.OpenDB(c)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), pool.Close())
	}
	return &Session{conn, pool, p}, nil
}

// Write implements services.Session.
func (s *Session) Write(ctx context.Context, key, value string) error {
	_, err := s.Conn.ExecContext(ctx, s.probe.Upsert, key, value)
	if !s.probe.Missing(err) {
		return err
	}
	if _, err = s.Conn.ExecContext(ctx, s.probe.Create); err != nil && !s.probe.Exists(err) {
		return err
	}
	_, err = s.Conn.ExecContext(ctx, s.probe.Upsert, key, value)
	return err
}

// Read implements services.Session.
func (s *Session) Read(ctx context.Context, key string) (value string, err error) {
	err = s.Conn.QueryRowContext(ctx, s.probe.Select, key).Scan(&value)
	return value, err
}

// Ping implements services.Session.
func (s *Session) Ping(ctx context.Context) error { return s.Conn.PingContext(ctx) }

// Close implements services.Session.
func (s *Session) Close() error { return errors.Join(s.Conn.Close(), s.pool.Close()) }
