package mysql

import (
	"cmp"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one MariaDB server.
type Config struct {
	// URL is how the administrator connects; its database is where
	// administrator.sql was run, "chandler" where it names none.
	URL services.Secret `json:"url"`
	// Host and Port are what applications are told; default: the URL's.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// TLS is how the administrator and applications connect: "disable",
	// "require" (encrypted) or "verify" (the server's certificate is checked
	// too); default: "disable" to a loopback address and else "require".
	TLS string `json:"tls"`
	// CA or CAFile is the PEM of the authority that signed the server's
	// certificate, handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the server; it is the one
	// that administrator.sql was told.
	Prefix string `json:"prefix"`
	// MaxConnections bounds the administrator's connections to the server.
	MaxConnections int `json:"max_connections"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Prefix = "c"
	c.MaxConnections = 8
}

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

// administrator is what the URL says.
type administrator struct {
	endpoint.Server
	user, password, database string
}

// administrator reads the URL. Its errors leave out the parser's, which quotes the URL
// and its password.
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
	a := administrator{Server: endpoint.Server{Host: u.Hostname(), Port: defaultPort}, user: u.User.Username(), password: password}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return administrator{}, errors.New("url: the port must be from 1 to 65535")
		}
		a.Port = uint16(n)
	}
	a.database = cmp.Or(strings.Trim(u.Path, "/"), defaultDatabase)
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

// connectTimeout bounds one attempt to reach the server, which tells a server that is
// away from one that is slow.
const connectTimeout = 5 * time.Second
