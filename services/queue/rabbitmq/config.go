package rabbitmq

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one RabbitMQ server or cluster.
type Config struct {
	// URL is the management API with the administrator's name and password.
	URL services.Secret `json:"url"`
	// Host and Port are what applications are told; default: the URL's host and AMQP's port.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// TLS is whether applications connect with TLS; default: whether the URL does.
	TLS *bool `json:"tls"`
	// CA or CAFile has the certificates of the server's authority, for applications too.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the server.
	Prefix string `json:"prefix"`
	// MaxConnections bounds the connections to the management API.
	MaxConnections int `json:"max_connections"`
	// FrameMax is the server's own frame_max in bytes, which bounds a message's headers.
	FrameMax int `json:"frame_max"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Prefix = "c"
	c.MaxConnections = 8
	c.FrameMax = 131072 // the server's own default
}

const (
	plainPort = 5672 // IANA: amqp
	tlsPort   = 5671 // IANA: amqps

	minFrame = 4096 // AMQP 0-9-1: frame-min-size
	maxFrame = 1 << 20
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	_, err := c.administrator()
	f.Add(err)
	f.If(strings.ContainsAny(c.Host, " /@?#"), "host: must be a name or an address, without scheme and port")
	f.Add(cafile.Check(c.CA, c.CAFile), naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	check.Range(&f, "max_connections", c.MaxConnections, 1, 1000)
	f.If(c.FrameMax < minFrame || c.FrameMax > maxFrame, "frame_max: must be from %d to %d, as the server's frame_max", minFrame, maxFrame)
	return f.Err()
}

// administrator is the account that administers the server, and the server's API.
type administrator struct {
	endpoint *url.URL // without user and password
	name     string
	password services.Secret
}

// administrator reads the URL. Its errors do not contain the password, as the parser's do.
func (c *Config) administrator() (administrator, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User.Username() == "" || !goodPort(u) {
		return administrator{}, errors.New("url: must be http://user:password@host:15672 or https://user:password@host:15671, with special characters of user and password percent-encoded")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return administrator{}, errors.New("url: must end with the port, or with the path that the management API is under; leave out ? and #")
	}
	password, _ := u.User.Password()
	a := administrator{name: u.User.Username(), password: services.NewSecret(password)}
	u.User, u.Path, u.RawPath = nil, strings.TrimRight(u.Path, "/"), ""
	a.endpoint = u
	return a, nil
}

func goodPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port != 0
}

// server is where applications connect, and how.
type server struct {
	endpoint.Server
	tls bool
}

func (c *Config) server(a administrator) (server, error) {
	s := server{tls: a.endpoint.Scheme == "https"}
	if c.TLS != nil {
		s.tls = *c.TLS
	}
	port := uint16(plainPort)
	if s.tls {
		port = tlsPort
	}
	ca, err := cafile.Read(c.CA, c.CAFile)
	s.Server = endpoint.Server{Host: cmp.Or(c.Host, a.endpoint.Hostname()), Port: cmp.Or(c.Port, port), CA: ca}
	return s, err
}

// credentials are what a binding's application reads.
func (s server) credentials(vhost, user string, password services.Secret) services.Credentials {
	return s.Credentials(credentialType, "tcp", map[string]any{
		"vhost":    vhost,
		"username": user,
		"password": password.Reveal(),
		"tls":      s.tls,
		"uri":      s.uri(vhost, user, password.Reveal()),
	})
}

// uri is a connection URI (RabbitMQ documentation, "AMQP 0-9-1 URI Specification").
func (s server) uri(vhost, user, password string) string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(user, password), Host: s.Address(), Path: "/" + vhost}
	if s.tls {
		u.Scheme = "amqps"
	}
	return u.String()
}
