package trove

import (
	"net/netip"
	"regexp"

	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Config is the backend's own configuration: one cloud.
type Config struct {
	openstack.Config
	// Address chooses among a server's addresses: "private" or "public" is a type, and other
	// values are the ID of a network or a range such as "10.1.0.0/16".
	Address string `json:"address"`
	// Port is the servers' port, which Trove does not report.
	Port uint16 `json:"port"`
	// TLS is how the broker and applications connect: "disable", "require" (encrypted) or
	// "verify" (and the server's certificate is checked).
	TLS string `json:"tls"`
	// DatabaseCA or DatabaseCAFile is the PEM of the authority that signed the servers'
	// certificates.
	DatabaseCA     string `json:"database_ca"`
	DatabaseCAFile string `json:"database_ca_file"`
	// Sessions is how an unbind ends the binding's sessions: sessionsEnd, sessionsRestart or
	// sessionsLeave.
	Sessions string `json:"sessions"`
}

// The values of the configuration key sessions.
const (
	// sessionsEnd: the broker connects to the server and ends them. It restarts a server that
	// has no connection left.
	sessionsEnd = "end"
	// sessionsRestart: the broker restarts the server.
	sessionsRestart = "restart"
	// sessionsLeave: they continue until the application disconnects.
	sessionsLeave = "leave"
)

// The types of addresses.
const (
	private = "private"
	public  = "public"
)

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Config.SetDefaults()
	c.Address, c.Port, c.TLS, c.Sessions = private, mysqldb.DefaultPort, mysqldb.Disable, sessionsEnd
}

// networkRule matches what is neither a type of address nor a range.
var networkRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	f.Add(c.Config.Validate())
	_, err := netip.ParsePrefix(c.Address)
	f.If(err != nil && !networkRule.MatchString(c.Address), `address: must be "private", "public", the ID of a network or a range such as "10.1.0.0/16"`)
	f.If(c.Port == 0, "port: must be from 1 to 65535")
	f.OneOf("tls", c.TLS, mysqldb.Disable, mysqldb.Require, mysqldb.Verify)
	f.Key("database_ca", cafile.Check(c.DatabaseCA, ""))
	f.If(c.DatabaseCA != "" && c.DatabaseCAFile != "", "database_ca_file: cannot be given together with database_ca")
	f.OneOf("sessions", c.Sessions, sessionsEnd, sessionsRestart, sessionsLeave)
	return f.Err()
}

// authority is the certificate of the servers' authority.
func (c *Config) authority() (string, error) {
	if c.DatabaseCAFile != "" {
		return cafile.ReadFile("database_ca_file", c.DatabaseCAFile)
	}
	return cafile.Read(c.DatabaseCA, "")
}
