package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: one PostgreSQL server.
type Config struct {
	// URL is how the administrator connects; its database is where
	// administrator.sql was run.
	URL services.Secret `json:"url"`
	// Host and Port are what applications are told; default: the URL's.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// SSLMode is what applications are told; default: the URL's, and where it
	// has none, "disable" on a loopback address or socket and else "require".
	SSLMode string `json:"sslmode"`
	// CA or CAFile is the PEM of the authority that signed the server's
	// certificate, handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the server.
	Prefix string `json:"prefix"`
	// MaxConnections bounds the administrator's connections to the server.
	MaxConnections int `json:"max_connections"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Prefix = "c"
	c.MaxConnections = 8
}

var (
	prefixRule = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)
	sslModes   = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf(key+": "+format, args...))
	}
	admin, err := c.administrator()
	if err != nil {
		faults = append(faults, err)
	} else if c.Host == "" && isSocket(admin.Host) {
		fault("host", "is missing: the url names a socket, which applications elsewhere cannot use; say which host they connect to")
	}
	if c.SSLMode != "" && !slices.Contains(sslModes, c.SSLMode) {
		fault("sslmode", "must be one of %s", strings.Join(sslModes, ", "))
	}
	if err := cafile.Check(c.CA, c.CAFile); err != nil {
		faults = append(faults, err)
	}
	if !prefixRule.MatchString(c.Prefix) {
		fault("prefix", "must be 1 to 8 characters of a-z and 0-9 and begin with a letter")
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		fault("max_connections", "must be from 1 to 1000")
	}
	return errors.Join(faults...)
}

// administrator reads the URL. What its parsers say is left out of the error:
// they quote the URL, password and all.
func (c *Config) administrator() (pq.Config, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.User == nil || u.User.Username() == "" {
		return pq.Config{}, errors.New("url: must be postgres://user:password@host:port/database, with special characters of user and password percent-encoded")
	}
	q := u.Query()
	if !q.Has("sslmode") {
		q.Set("sslmode", defaultSSLMode(u.Hostname(), q.Get("host")))
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

func defaultSSLMode(host, socket string) string {
	if socket != "" {
		host = socket
	}
	ip := net.ParseIP(host)
	if host == "" || host == "localhost" || isSocket(host) || (ip != nil && ip.IsLoopback()) {
		return "disable"
	}
	return "require"
}

func isSocket(host string) bool { return filepath.IsAbs(host) || strings.HasPrefix(host, "@") }

// server is what applications are told.
type server struct {
	host    string
	port    uint16
	sslmode string
	ca      string
}

func (c *Config) server(admin pq.Config) (server, error) {
	s := server{host: c.Host, port: c.Port, sslmode: c.SSLMode}
	if s.host == "" {
		s.host = admin.Host
	}
	if s.port == 0 {
		s.port = admin.Port
	}
	if s.sslmode == "" {
		s.sslmode = string(admin.SSLMode)
	}
	var err error
	s.ca, err = cafile.Read(c.CA, c.CAFile)
	return s, err
}

// connectTimeout bounds one attempt to reach the server, so that a server that
// is away is told from one that is slow.
const connectTimeout = 5 * time.Second
