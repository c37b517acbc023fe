package database

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"net/url"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// Session implements services.Session with one connection, and rows of a table.
type Session struct {
	*Conn
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
func Dial(ctx context.Context, c driver.Connector, p Probe) (services.Session, error) {
	conn, err := Connect(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Session{conn, p}, nil
}

// Write implements services.Session.
func (s *Session) Write(ctx context.Context, key, value string) error {
	_, err := s.ExecContext(ctx, s.probe.Upsert, key, value)
	if !s.probe.Missing(err) {
		return err
	}
	if err = s.Exec(ctx, s.probe.Create); err != nil && !s.probe.Exists(err) {
		return err
	}
	_, err = s.ExecContext(ctx, s.probe.Upsert, key, value)
	return err
}

// Read implements services.Session.
func (s *Session) Read(ctx context.Context, key string) (value string, err error) {
	err = s.QueryRowContext(ctx, s.probe.Select, key).Scan(&value)
	return value, err
}

// Ping implements services.Session.
func (s *Session) Ping(ctx context.Context) error { return s.PingContext(ctx) }

// Login is how a binding's application connects to its database.
type Login struct {
	// Type is "type" in the credentials, and begins the JDBC URL; Scheme is the URI's.
	Type, Scheme   string
	Database, User string
	Password       services.Secret
	TLS            bool
	// URI and JDBC are options of the two URLs.
	URI, JDBC url.Values
}

// Credentials are what the application reads.
func (l Login) Credentials(s endpoint.Server) services.Credentials {
	password := l.Password.Reveal()
	uri := url.URL{Scheme: l.Scheme, User: url.UserPassword(l.User, password), Host: s.Address(), Path: "/" + l.Database, RawQuery: l.URI.Encode()}
	options := url.Values{"user": {l.User}, "password": {password}}
	maps.Copy(options, l.JDBC)
	return s.Credentials(l.Type, "tcp", map[string]any{
		"database": l.Database,
		"username": l.User,
		"password": password,
		"uri":      uri.String(),
		"jdbc_url": "jdbc:" + l.Type + "://" + s.Address() + "/" + url.PathEscape(l.Database) + "?" + options.Encode(),
		"tls":      l.TLS,
	})
}
