package mysql

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one MariaDB server.
type Config struct {
	// URL is the administrator's; its database, by default "chandler", is where
	// administrator.sql was run.
	URL services.Secret `json:"url"`
	// Host and Port are where applications connect; default: the URL's.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// TLS is how the administrator and applications connect: "disable", "require"
	// (encrypted) or "verify" (and the server's certificate is checked); default: "disable"
	// to a loopback address and else "require".
	TLS string `json:"tls"`
	// CA or CAFile is the PEM of the authority that signed the server's certificate.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the server, as in administrator.sql.
	Prefix string `json:"prefix"`
	// MaxConnections bounds the administrator's connections.
	MaxConnections int `json:"max_connections"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() { c.Prefix, c.MaxConnections = "c", 8 }

const (
	tlsDisable = "disable"
	tlsRequire = "require"
	tlsVerify  = "verify"

	defaultDatabase = "chandler"
	defaultPort     = 3306
)

var databaseRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	admin, err := c.administrator()
	f.Add(err)
	f.If(err == nil && strings.HasPrefix(admin.database, c.Prefix+"_"), "url: the database must not begin with the prefix and an underscore, as the tenants' do")
	if c.TLS != "" {
		f.OneOf("tls", c.TLS, tlsDisable, tlsRequire, tlsVerify)
	}
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	check.Range(&f, "max_connections", c.MaxConnections, 1, 1000)
	return f.Err()
}

type administrator struct {
	endpoint.Server
	user, password, database string
}

// administrator reads the URL. Its errors omit the parser's, which quotes the password.
func (c *Config) administrator() (administrator, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.Scheme != "mysql" && u.Scheme != "mariadb" || u.User == nil || u.User.Username() == "" || u.Hostname() == "" {
		return administrator{}, errors.New("url: must be mysql://user:password@host:port/database, with special characters of user and password percent-encoded")
	}
	password, _ := u.User.Password()
	if password == "" {
		return administrator{}, errors.New("url: must have a password")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return administrator{}, errors.New("url: takes no options behind the database; tls, ca and the others are keys of their own")
	}
	_, at, err := endpoint.Parse(u.Scheme+"://"+u.Host, map[string]uint16{u.Scheme: defaultPort})
	if err != nil {
		return administrator{}, fmt.Errorf("url: %w", err)
	}
	a := administrator{at, u.User.Username(), password, cmp.Or(strings.Trim(u.Path, "/"), defaultDatabase)}
	if !databaseRule.MatchString(a.database) {
		return administrator{}, errors.New("url: the database must have 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
	}
	return a, nil
}

// server is where applications connect, and how.
type server struct {
	endpoint.Server
	tls string
}

func (c *Config) server(admin administrator) (server, error) {
	ca, err := cafile.Read(c.CA, c.CAFile)
	at := endpoint.Server{Host: cmp.Or(c.Host, admin.Host), Port: cmp.Or(c.Port, admin.Port), CA: ca}
	return server{at, cmp.Or(c.TLS, defaultTLS(admin.Host))}, err
}

func defaultTLS(host string) string {
	if endpoint.IsLoopback(host) {
		return tlsDisable
	}
	return tlsRequire
}

// connectTimeout distinguishes a server that is away from one that is slow.
const connectTimeout = 5 * time.Second

// credentials are what a binding's application reads. The URI has no options, because clients
// agree on none. MariaDB's JDBC driver needs permitMysqlScheme, which MySQL's ignores.
func (s server) credentials(name, user string, password services.Secret) services.Credentials {
	options := url.Values{"permitMysqlScheme": {"true"}}
	switch s.tls {
	case tlsRequire:
		options.Set("sslMode", "REQUIRED")
	case tlsVerify:
		options.Set("sslMode", "VERIFY_IDENTITY")
	}
	return database.Login{
		Type: credentialType, Scheme: "mysql", Database: name, User: user, Password: password,
		TLS: s.tls != tlsDisable, JDBC: options,
	}.Credentials(s.Server)
}

// tlsConfig is for connecting to host; nil: without TLS.
func (s server) tlsConfig(host string) *tls.Config {
	if s.tls == tlsDisable {
		return nil
	}
	c := cafile.TLS(s.CA)
	c.ServerName, c.InsecureSkipVerify = host, s.tls == tlsRequire //nolint:gosec // the operator said that encryption is enough
	return c
}

// dial opens a session as an application does: with go-sql-driver/mysql and the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	config, err := clientConfig(credentials)
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
		Missing: func(err error) bool { return is(err, noSuchTable) },
		Exists:  func(err error) bool { return is(err, tableExists) },
	})
}

// clientConfig reads the credentials.
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
		if s.CA, _ = credentials["ca"].(string); s.CA != "" {
			s.tls = tlsVerify
		}
		c.TLS = s.tlsConfig(u.Hostname())
	}
	return c, nil
}
