package powerdns

import (
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is the backend's own configuration: one PowerDNS server.
type Config struct {
	// URL is that of the server's HTTP API: http://host:port, or https.
	URL    string          `json:"url"`
	APIKey services.Secret `json:"api_key"`
	// CA or CAFile is the PEM of the authority that signed the API's certificate; default:
	// the system's authorities.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// ServerID is the server's name in its API.
	ServerID string `json:"server_id"`
	// Host and Port are where the server answers DNS, and applications send their updates.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// Nameservers are the names in each zone's NS records.
	Nameservers []string `json:"nameservers"`
	// Hostmaster is the mail address in the SOA records; default: hostmaster at each zone.
	Hostmaster string `json:"hostmaster"`
	// Kind is native, or primary if secondaries are to be notified.
	Kind          string `json:"kind"`
	TSIGAlgorithm string `json:"tsig_algorithm"`
	// Prefix marks what this broker makes on the server.
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
	serverIDRule = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

	// keySizes are the lengths of the algorithms' secrets in bytes (RFC 8945, section 8).
	keySizes = map[string]int{"hmac-sha256": 32, "hmac-sha384": 48, "hmac-sha512": 64}

	// ports are the schemes of the API with their default ports.
	ports = map[string]uint16{"http": 80, "https": 443}
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	_, _, err := endpoint.Parse(c.URL, ports)
	f.Key("url", err)
	f.If(c.APIKey.IsZero(), "api_key: is missing; it is the server's setting api-key")
	f.Add(cafile.Check(c.CA, c.CAFile))
	f.If(!serverIDRule.MatchString(c.ServerID), "server_id: must be the server's name in its API, which is localhost")
	f.If(c.Host == "" || (net.ParseIP(c.Host) == nil && !zone.IsHost(c.Host)), "host: must be the name or address where the server answers DNS")
	f.If(c.Port == 0, "port: must be from 1 to 65535")
	f.If(len(c.Nameservers) == 0, "nameservers: must name at least one server, such as ns1.example.net")
	for _, n := range c.Nameservers {
		f.If(!zone.IsHost(n), "nameservers: %q is not the complete name of a host", n)
	}
	f.Unique("nameservers", c.Nameservers)
	f.If(c.Hostmaster != "" && !zone.IsMail(c.Hostmaster), "hostmaster: must be a mail address without a dot before the @")
	f.OneOf("kind", c.Kind, kindNative, kindPrimary)
	f.OneOf("tsig_algorithm", c.TSIGAlgorithm, slices.Sorted(maps.Keys(keySizes))...)
	f.Add(naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	return f.Err()
}

// credentials are what a binding's application reads.
func (b *backend) credentials(zone, key, secret string, role access.Role) services.Credentials {
	name, algorithm := strings.TrimSuffix(key, "."), b.config.TSIGAlgorithm
	var nameservers []any
	for _, n := range b.nameserver {
		nameservers = append(nameservers, strings.TrimSuffix(n, "."))
	}
	return b.server.Credentials(credentialType, "all", map[string]any{
		"zone":           strings.TrimSuffix(zone, "."),
		"server":         b.server.Host,
		"nameservers":    nameservers,
		"role":           string(role),
		"tsig_name":      name,
		"tsig_algorithm": algorithm,
		"tsig_secret":    secret,
		// For the option -k of nsupdate, dig and BIND's other tools.
		"tsig_key_file": fmt.Sprintf("key %q {\n\talgorithm %s;\n\tsecret %q;\n};\n", name, algorithm, secret),
	})
}
