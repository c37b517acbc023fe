package designate

import (
	"net"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Config is the backend's own configuration: one Designate of one cloud.
type Config struct {
	openstack.Config
	// Host and Port are where applications find a server that answers DNS for the zones; default:
	// the first name server of each zone.
	Host string `json:"host"`
	Port uint16 `json:"port"`
	// Hostmaster is the mail address in the SOA records; default: hostmaster at each zone.
	Hostmaster string `json:"hostmaster"`
	// TokenCacheTime is Designate's setting of this name in seconds: for so long a token still
	// works after its credential was deleted.
	TokenCacheTime int `json:"token_cache_time"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Config.SetDefaults()
	c.Port, c.TokenCacheTime = 53, 300
}

const maxTokenCacheTime = 24 * 3600

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	f.Add(c.Config.Validate())
	f.If(c.Host != "" && net.ParseIP(c.Host) == nil && !zone.IsHost(c.Host), "host: must be the name or address of a server that answers DNS for the zones")
	f.If(c.Port == 0, "port: must be from 1 to 65535")
	f.If(c.Hostmaster != "" && !zone.IsMail(c.Hostmaster), "hostmaster: must be a mail address without a dot before the @")
	f.If(c.TokenCacheTime < -1 || c.TokenCacheTime > maxTokenCacheTime, "token_cache_time: must be Designate's setting token_cache_time, from -1 to %d seconds", maxTokenCacheTime)
	return f.Err()
}

// Plan is the configuration of a plan.
type Plan = zone.Plan

// InstanceParams are the user's parameters of an instance.
type InstanceParams = zone.Params

// BindingParams are the user's parameters of a binding: read_write changes the zone's records by
// Designate's API, read_only reads them.
type BindingParams = access.Params

type instance = services.Instance[Plan, InstanceParams]

// zoneName is the name that the instance's zone should have.
func zoneName(inst instance) string { return zone.Name(inst.Name, inst.Plan, inst.Params) }
