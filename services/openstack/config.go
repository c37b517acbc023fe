// Package openstack is what the backends on OpenStack share: the broker's account in Keystone, a
// project for each instance, a user with an application credential for each binding, and the
// meaning of errors.
package openstack

import (
	"regexp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/naming"
)

// Config is how to reach one cloud and with which account. A backend embeds it in its
// configuration.
type Config struct {
	// AuthURL is Keystone's, such as https://cloud.example.com:5000/v3.
	AuthURL string `json:"auth_url"`
	// PublicAuthURL is Keystone's for applications; default: AuthURL.
	PublicAuthURL string `json:"public_auth_url"`
	// Domain is the name of the domain that contains the broker's account and everything that
	// the broker makes in Keystone. It must contain nothing else.
	Domain   string          `json:"domain"`
	Username string          `json:"username"`
	Password services.Secret `json:"password"`
	// Region chooses among several of the catalog.
	Region string `json:"region"`
	// Interface is the catalog's interface that the broker uses.
	Interface string `json:"interface"`
	// Endpoint replaces the service's URL in the catalog. "%(project_id)s" stands for the
	// project.
	Endpoint string `json:"endpoint"`
	// CA or CAFile is the PEM of the authority that signed the cloud's certificates; default:
	// the system's authorities.
	CA     string `json:"ca"`
	CAFile string `json:"ca_file"`
	// MemberRole is the name of the role that the broker and bindings have in a project;
	// MemberRoleID its ID, if the broker's account may not list roles.
	MemberRole   string `json:"member_role"`
	MemberRoleID string `json:"member_role_id"`
	// Prefix begins the names of the projects and users that this broker makes.
	Prefix string `json:"prefix"`
}

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Interface, c.MemberRole, c.Prefix = "public", "member", "c"
}

var (
	urlRule = regexp.MustCompile(`^https?://[^\s/?#@]+(/[^\s?#@]*)?$`)
	v3Rule  = regexp.MustCompile(`/v3/?$`)
)

const maxKeystoneName = 64 // of domains and projects

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	f.If(!urlRule.MatchString(c.AuthURL) || !v3Rule.MatchString(c.AuthURL), "auth_url: must be Keystone's URL, such as https://cloud.example.com:5000/v3")
	f.If(c.PublicAuthURL != "" && (!urlRule.MatchString(c.PublicAuthURL) || !v3Rule.MatchString(c.PublicAuthURL)),
		"public_auth_url: must be Keystone's URL as applications reach it, such as https://cloud.example.com:5000/v3, or left out")
	f.If(c.Domain == "" || len(c.Domain) > maxKeystoneName, "domain: must be the name of the domain that contains the broker's account")
	f.If(c.Username == "", "username: is missing; it is the broker's account in the domain")
	f.If(c.Password.IsZero(), "password: is missing; it is the broker's account's")
	f.OneOf("interface", c.Interface, "public", "internal", "admin")
	f.If(c.Endpoint != "" && !urlRule.MatchString(c.Endpoint), "endpoint: must be the service's URL, or left out to use the catalog's")
	f.Add(cafile.Check(c.CA, c.CAFile))
	f.If(c.MemberRole == "" && c.MemberRoleID == "", "member_role: must be the name of the role that bindings have in their project")
	f.Add(naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	return f.Err()
}
