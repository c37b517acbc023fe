// Package mysqldb is what the backends of MySQL and MariaDB share: how applications connect and
// with which credentials, the servers' errors, and the parameters of a database.
package mysqldb

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/endpoint"
)

const (
	// CredentialType is "type" in the credentials (Service Binding Specification).
	CredentialType = "mysql"
	// DefaultPort is the servers' port.
	DefaultPort = 3306
)

// The values of the configuration key tls.
const (
	Disable = "disable"
	Require = "require" // encrypted
	Verify  = "verify"  // and the server's certificate is checked
)

// CheckTLS checks the configuration key tls, which may be empty.
func CheckTLS(f *check.Faults, value string) {
	if value != "" {
		f.OneOf("tls", value, Disable, Require, Verify)
	}
}

// DefaultTLS is the default of the configuration key tls for a server on this host.
func DefaultTLS(host string) string {
	if endpoint.IsLoopback(host) {
		return Disable
	}
	return Require
}

// Server is where applications connect, and how.
type Server struct {
	endpoint.Server
	TLS string
}

// Credentials are what a binding's application reads. The URI has no options, because clients
// agree on none. MariaDB's JDBC driver needs permitMysqlScheme, which MySQL's ignores.
func (s Server) Credentials(name, user string, password services.Secret) services.Credentials {
	options := url.Values{"permitMysqlScheme": {"true"}}
	switch s.TLS {
	case Require:
		options.Set("sslMode", "REQUIRED")
	case Verify:
		options.Set("sslMode", "VERIFY_IDENTITY")
	}
	return database.Login{
		Type: CredentialType, Scheme: "mysql", Database: name, User: user, Password: password,
		TLS: s.TLS != Disable, JDBC: options,
	}.Credentials(s.Server)
}

// TLSConfig is for connecting to host; nil: without TLS.
func (s Server) TLSConfig(host string) *tls.Config {
	if s.TLS == Disable {
		return nil
	}
	c := cafile.TLS(s.CA)
	c.ServerName, c.InsecureSkipVerify = host, s.TLS == Require //nolint:gosec // the operator said that encryption is enough
	return c
}

// Dial opens a session as an application does: with go-sql-driver/mysql and the uri.
func Dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	config, err := ClientConfig(credentials)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that the driver understands") // err might quote it
	}
	return database.Dial(ctx, connector, database.Probe{ // the columns fit any key, whatever the database's character set
		Create: `CREATE TABLE IF NOT EXISTS chandler_probe (name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
			value LONGTEXT CHARACTER SET utf8mb4 NOT NULL)`,
		Upsert:  `INSERT INTO chandler_probe (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)`,
		Select:  `SELECT value FROM chandler_probe WHERE name = ?`,
		Missing: func(err error) bool { return Is(err, NoSuchTable) },
		Exists:  func(err error) bool { return Is(err, tableExists) },
	})
}

// ClientConfig reads the credentials.
func ClientConfig(credentials map[string]any) (*mysql.Config, error) {
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
		s := Server{TLS: Require}
		if s.CA, _ = credentials["ca"].(string); s.CA != "" {
			s.TLS = Verify
		}
		c.TLS = s.TLSConfig(u.Hostname())
	}
	return c, nil
}
