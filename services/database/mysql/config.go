package mysql

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
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
	// Programs is the folder of mariadb-dump, for backups; default: that in PATH.
	Programs string `json:"programs"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() { c.Prefix, c.MaxConnections = "c", 8 }

const defaultDatabase = "chandler"

var databaseRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	admin, err := c.administrator()
	f.Add(err)
	f.If(err == nil && strings.HasPrefix(admin.database, c.Prefix+"_"), "url: the database must not begin with the prefix and an underscore, as the tenants' do")
	mysqldb.CheckTLS(&f, c.TLS)
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	check.Range(&f, "max_connections", c.MaxConnections, 1, 1000)
	f.If(c.Programs != "" && !filepath.IsAbs(c.Programs), "programs: must be the absolute path of a folder with mariadb-dump")
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
	_, at, err := endpoint.Parse(u.Scheme+"://"+u.Host, map[string]uint16{u.Scheme: mysqldb.DefaultPort})
	if err != nil {
		return administrator{}, fmt.Errorf("url: %w", err)
	}
	a := administrator{at, u.User.Username(), password, cmp.Or(strings.Trim(u.Path, "/"), defaultDatabase)}
	if !databaseRule.MatchString(a.database) {
		return administrator{}, errors.New("url: the database must have 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
	}
	return a, nil
}

func (c *Config) server(admin administrator) (mysqldb.Server, error) {
	ca, err := cafile.Read(c.CA, c.CAFile)
	at := endpoint.Server{Host: cmp.Or(c.Host, admin.Host), Port: cmp.Or(c.Port, admin.Port), CA: ca}
	return mysqldb.Server{Server: at, TLS: cmp.Or(c.TLS, mysqldb.DefaultTLS(admin.Host))}, err
}

// connectTimeout distinguishes a server that is away from one that is slow.
const connectTimeout = 5 * time.Second
