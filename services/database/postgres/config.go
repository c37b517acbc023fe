package postgres

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one PostgreSQL server.
type Config struct {
	// URL is the administrator's; administrator.sql was run in its database.
	URL services.Secret `json:"url"`
	// Host and Port are where applications connect; default: the URL's.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// SSLMode is the applications'; default: the URL's, or "disable" on a loopback address or
	// socket and else "require".
	SSLMode string `json:"sslmode"`
	// CA or CAFile is the PEM of the authority that signed the server's certificate.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the server.
	Prefix string `json:"prefix"`
	// MaxConnections bounds the administrator's connections.
	MaxConnections int `json:"max_connections"`
	// Programs is the folder of pg_dump and pg_restore, for backups; default: those in PATH.
	Programs string `json:"programs"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() { c.Prefix, c.MaxConnections = "c", 8 }

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	admin, err := c.administrator()
	f.Add(err)
	f.If(err == nil && c.Host == "" && isSocket(admin.Host),
		"host: is missing: the url names a socket, which applications elsewhere cannot use; name the host that they connect to")
	if c.SSLMode != "" {
		f.OneOf("sslmode", c.SSLMode, "disable", "allow", "prefer", "require", "verify-ca", "verify-full")
	}
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	check.Range(&f, "max_connections", c.MaxConnections, 1, 1000)
	f.If(c.Programs != "" && !filepath.IsAbs(c.Programs), "programs: must be the absolute path of a folder with pg_dump and pg_restore")
	return f.Err()
}

// administrator reads the URL. Its errors omit the parsers', which quote the password.
func (c *Config) administrator() (pq.Config, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.User == nil || u.User.Username() == "" {
		return pq.Config{}, errors.New("url: must be postgres://user:password@host:port/database, with special characters of user and password percent-encoded")
	}
	q := u.Query()
	if !q.Has("sslmode") {
		q.Set("sslmode", defaultSSLMode(cmp.Or(q.Get("host"), u.Hostname())))
	}
	if strings.Trim(u.Path, "/") == "" && !q.Has("dbname") {
		u.Path = "/postgres"
	}
	u.RawQuery = q.Encode()
	config, err := pq.NewConfig(u.String())
	if err != nil {
		return pq.Config{}, errors.New("url: is not understood by the driver; check the port, the options behind the question mark and the PG* variables of the environment")
	}
	if len(config.Multi) > 0 {
		return pq.Config{}, errors.New("url: must name one host")
	}
	return config, nil
}

func defaultSSLMode(host string) string {
	if host == "" || isSocket(host) || endpoint.IsLoopback(host) {
		return "disable"
	}
	return "require"
}

func isSocket(host string) bool { return filepath.IsAbs(host) || strings.HasPrefix(host, "@") }

// server is where applications connect, and how.
type server struct {
	endpoint.Server
	sslmode string
}

func (c *Config) server(admin pq.Config) (server, error) {
	ca, err := cafile.Read(c.CA, c.CAFile)
	at := endpoint.Server{Host: cmp.Or(c.Host, admin.Host), Port: cmp.Or(c.Port, admin.Port), CA: ca}
	return server{at, cmp.Or(c.SSLMode, string(admin.SSLMode))}, err
}

// connectTimeout distinguishes a server that is away from one that is slow.
const connectTimeout = 5 * time.Second

// credentials are what a binding's application reads.
func (s server) credentials(name, user string, password services.Secret) services.Credentials {
	options := url.Values{"sslmode": {s.sslmode}}
	c := database.Login{
		Type: credentialType, Scheme: "postgres", Database: name, User: user, Password: password,
		TLS: s.sslmode != "disable", URI: options, JDBC: options,
	}.Credentials(s.Server)
	c.Values["sslmode"] = s.sslmode
	return c
}

// dial opens a session as an application does: with lib/pq and the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	uri, _ := credentials["uri"].(string)
	connector, err := pq.NewConnector(uri)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that lib/pq understands") // err would quote it
	}
	return database.Dial(ctx, connector, database.Probe{
		Create: `CREATE TABLE IF NOT EXISTS chandler_probe (key text PRIMARY KEY, value text NOT NULL)`,
		Upsert: `INSERT INTO chandler_probe (key, value) VALUES ($1, $2)
			ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value`,
		Select:  `SELECT value FROM chandler_probe WHERE key = $1`,
		Missing: func(err error) bool { return is(err, pqerror.UndefinedTable) },
		Exists:  func(err error) bool { return is(err, pqerror.UniqueViolation, pqerror.DuplicateTable) },
	})
}
