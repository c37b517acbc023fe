package powerdns

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Config is the backend's own configuration: one PowerDNS server.
type Config struct {
	// URL is where the server's HTTP API is: http://host:port, or https.
	URL string `json:"url"`
	// APIKey opens the API.
	APIKey services.Secret `json:"api_key"`
	// CA or CAFile is the PEM of the authority that signed the API's
	// certificate; default: the system's authorities.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// ServerID is the server's name in its API.
	ServerID string `json:"server_id"`
	// Host and Port are where the server answers DNS: what applications are
	// told to send their updates to.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// Nameservers are the names in each zone's NS records.
	Nameservers []string `json:"nameservers"`
	// Hostmaster is who is responsible for the zones, a mail address; default:
	// hostmaster at each zone's name.
	Hostmaster string `json:"hostmaster"`
	// Kind is native, or primary where secondaries are to be notified.
	Kind string `json:"kind"`
	// TSIGAlgorithm is what bindings sign with.
	TSIGAlgorithm string `json:"tsig_algorithm"`
	// Prefix marks what this broker made on the server.
	Prefix string `json:"prefix"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.ServerID = "localhost"
	c.Port = 53
	c.Kind = kindNative
	c.TSIGAlgorithm = "hmac-sha256"
	c.Prefix = "c"
}

const (
	kindNative  = "native"
	kindPrimary = "primary"
)

var (
	prefixRule   = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)
	serverIDRule = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	mailRule     = regexp.MustCompile(`^[A-Za-z0-9_+-]{1,63}@[A-Za-z0-9.-]{1,190}$`)

	// keySizes are the algorithms with the length of their secrets in bytes:
	// that of their hash (RFC 8945, section 8).
	keySizes = map[string]int{"hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	_, err := c.api()
	fault(err != nil, "url: must be http://host:port or https://host:port of the server's API, without a path or password")
	fault(c.APIKey.IsZero(), "api_key: is missing; it is the server's setting api-key")
	faults = append(faults, cafile.Check(c.CA, c.CAFile))
	fault(!serverIDRule.MatchString(c.ServerID), "server_id: must be the server's name in its API, which is localhost")
	fault(c.Host == "" || (net.ParseIP(c.Host) == nil && !isHost(c.Host)), "host: must be the name or address where the server answers DNS")
	fault(c.Port == 0, "port: must be from 1 to 65535")
	fault(len(c.Nameservers) == 0, "nameservers: must name one server at least, such as ns1.example.net")
	for i, n := range c.Nameservers {
		fault(!isHost(n), "nameservers: %q is not the complete name of a host", n)
		fault(slices.Contains(c.Nameservers[:i], n), "nameservers: %q is there twice", n)
	}
	fault(c.Hostmaster != "" && (!mailRule.MatchString(c.Hostmaster) || !isHost(afterAt(c.Hostmaster))), "hostmaster: must be a mail address without a dot before the @")
	fault(c.Kind != kindNative && c.Kind != kindPrimary, "kind: must be %s or %s", kindNative, kindPrimary)
	fault(keySizes[c.TSIGAlgorithm] == 0, "tsig_algorithm: must be hmac-sha256, hmac-sha384 or hmac-sha512")
	fault(!prefixRule.MatchString(c.Prefix), "prefix: must be 1 to 8 characters of a-z and 0-9 and begin with a letter")
	return errors.Join(faults...)
}

func afterAt(mail string) string {
	_, host, _ := strings.Cut(mail, "@")
	return host
}

// isHost says whether name is a host's complete name.
func isHost(name string) bool {
	canonical, ok := hostName(name)
	return ok && canonical != "."
}

// api reads the URL, and gives it the port that its scheme stands for.
func (c *Config) api() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("is not the URL of a server")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return &url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(u.Hostname(), port)}, nil
}
