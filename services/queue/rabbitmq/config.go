package rabbitmq

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: one RabbitMQ server or cluster.
type Config struct {
	// URL is the management API with the administrator's name and password.
	URL services.Secret `json:"url"`
	// Host and Port are what applications are told; default: the URL's host,
	// and 5672, or 5671 with TLS.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// TLS is whether applications connect with TLS; default: whether the URL
	// does.
	TLS *bool `json:"tls"`
	// CA or CAFile is the PEM of the authority that signed the server's
	// certificates, for the management API and handed out with the credentials.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// Prefix begins the name of everything made on the server.
	Prefix string `json:"prefix"`
	// MaxConnections bounds the connections to the management API.
	MaxConnections int `json:"max_connections"`
	// FrameMax is the server's own frame_max in bytes, which bounds the headers
	// of a message.
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

var prefixRule = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	if _, err := c.administrator(); err != nil {
		faults = append(faults, err)
	}
	fault(strings.ContainsAny(c.Host, " /@?#"), "host: must be a name or an address, without scheme and port")
	faults = append(faults, cafile.Check(c.CA, c.CAFile))
	fault(!prefixRule.MatchString(c.Prefix), "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter")
	fault(c.MaxConnections < 1 || c.MaxConnections > 1000, "max_connections: must be from 1 to 1000")
	fault(c.FrameMax < minFrame || c.FrameMax > maxFrame, "frame_max: must be from 4096 to 1048576, as the server's frame_max")
	return errors.Join(faults...)
}

// administrator is who administers the server, and where.
type administrator struct {
	endpoint *url.URL // without user and password
	name     string
	password services.Secret
}

// administrator reads the URL. What its parser says is left out of the error: it
// quotes the URL, password and all.
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

// server is what applications are told.
type server struct {
	host string
	port uint16
	tls  bool
	ca   string
}

func (c *Config) server(a administrator) (server, error) {
	s := server{host: c.Host, port: c.Port, tls: a.endpoint.Scheme == "https"}
	if s.host == "" {
		s.host = a.endpoint.Hostname()
	}
	if c.TLS != nil {
		s.tls = *c.TLS
	}
	if s.port == 0 {
		s.port = plainPort
		if s.tls {
			s.port = tlsPort
		}
	}
	var err error
	s.ca, err = cafile.Read(c.CA, c.CAFile)
	return s, err
}
