package mysql

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
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

var (
	prefixRule   = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)
	databaseRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	admin, err := c.administrator()
	if err != nil {
		faults = append(faults, err)
	}
	fault(err == nil && strings.HasPrefix(admin.database, c.Prefix+"_"), "url: the database must not begin with the prefix and an underscore, as the tenants' do")
	fault(!slices.Contains([]string{"", tlsDisable, tlsRequire, tlsVerify}, c.TLS), "tls: must be %q, %q or %q", tlsDisable, tlsRequire, tlsVerify)
	faults = append(faults, cafile.Check(c.CA, c.CAFile))
	fault(!prefixRule.MatchString(c.Prefix), "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter")
	fault(c.MaxConnections < 1 || c.MaxConnections > 1000, "max_connections: must be from 1 to 1000")
	return errors.Join(faults...)
}

// administrator is what the URL says.
type administrator struct {
	user, password, host, database string
	port                           uint16
}

// administrator reads the URL. What its parser says is left out of the error:
// it quotes the URL, password and all.
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
	a := administrator{user: u.User.Username(), password: password, host: u.Hostname(), port: defaultPort}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return administrator{}, errors.New("url: the port must be from 1 to 65535")
		}
		a.port = uint16(n)
	}
	a.database = cmp.Or(strings.Trim(u.Path, "/"), defaultDatabase)
	if !databaseRule.MatchString(a.database) {
		return administrator{}, errors.New("url: the database must have 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
	}
	return a, nil
}

func (a administrator) address() string {
	return net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
}

// server is what applications are told.
type server struct {
	host string
	port uint16
	tls  string
	ca   string
}

func (c *Config) server(admin administrator) (server, error) {
	s := server{host: cmp.Or(c.Host, admin.host), port: cmp.Or(c.Port, admin.port), tls: cmp.Or(c.TLS, defaultTLS(admin.host))}
	var err error
	s.ca, err = cafile.Read(c.CA, c.CAFile)
	return s, err
}

func defaultTLS(host string) string {
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return tlsDisable
	}
	return tlsRequire
}

// connectTimeout bounds one attempt to reach the server, so that a server that
// is away is told from one that is slow.
const connectTimeout = 5 * time.Second
