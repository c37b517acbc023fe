package catalog

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Deliveries are the ways other than inline in which credentials can reach applications;
// nil if a way is not set up.
type Deliveries struct {
	CredHub *CredHubDelivery `yaml:"credhub-ref"`
	Vault   *VaultDelivery   `yaml:"vault-ref"`
}

// CredHubDelivery is the CredHub for credhub-ref, with the broker's identity there.
type CredHubDelivery struct {
	URL             string          `yaml:"url,required"`
	CAFile          string          `yaml:"ca_file"`
	CertificateFile string          `yaml:"certificate_file"`
	KeyFile         string          `yaml:"key_file"`
	ClientID        string          `yaml:"client_id"`
	ClientSecret    services.Secret `yaml:"client_secret"`
	Prefix          string          `yaml:"prefix"`
}

// VaultDelivery is where applications read for vault-ref, in the Vault that is the
// broker's credential store.
type VaultDelivery struct {
	Address      string      `yaml:"address"`
	Namespace    string      `yaml:"namespace"`
	Prefix       string      `yaml:"prefix"`
	CloudFoundry *VaultLogin `yaml:"cloudfoundry"`
	Kubernetes   *VaultLogin `yaml:"kubernetes"`
}

// VaultLogin is how applications of a platform log in at Vault. VaultAuth is the
// Vault Secrets Operator's object for that on Kubernetes; empty: the broker provides one.
type VaultLogin struct {
	Mount     string `yaml:"mount,required"`
	Role      string `yaml:"role,required"`
	VaultAuth string `yaml:"vault_auth"`
}

// vaultAuthName is an object's name (RFC 1123, a subdomain), its namespace in front.
var vaultAuthName = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// Deliveries returns the deliveries that the file sets up.
func (c *Catalog) Deliveries() Deliveries { return c.deliveries }

// Delivery returns how the credentials of a plan's binding reach its application: as the
// plan says, or else the platform, or else inline.
func (c *Catalog) Delivery(platform string, p *Plan) string {
	if p.Delivery != "" {
		return p.Delivery
	}
	for _, client := range c.platforms {
		if client.Name == platform && client.Delivery != "" {
			return client.Delivery
		}
	}
	return credhub.Inline
}

func (d *VaultDelivery) check(c *checker, n *node) {
	d.Prefix = cmp.Or(strings.Trim(d.Prefix, "/"), "chandler-applications")
	switch {
	case d.CloudFoundry == nil && d.Kubernetes == nil:
		c.wrong(n, "no application could read: say under cloudfoundry or kubernetes how applications log in there")
	case d.CloudFoundry != nil && d.CloudFoundry.VaultAuth != "":
		c.wrong(n.member("cloudfoundry").member("vault_auth"), "is for kubernetes only; remove it")
	}
}

func (l *VaultLogin) check(c *checker, n *node) {
	l.Mount = strings.Trim(l.Mount, "/")
	if l.VaultAuth != "" && !vaultAuthName.MatchString(l.VaultAuth) {
		c.wrong(n.member("vault_auth"), "must be the name of a VaultAuth, after its namespace and a slash if it is in another one: operators/default")
	}
}

// checkDelivery checks the key "delivery" of a platform or a plan, after the section of
// that name was read.
func (c *checker) checkDelivery(n *node, way string) {
	available := map[string]bool{credhub.Inline: true, credhub.CredHubRef: c.deliveries.CredHub != nil, credhub.VaultRef: c.deliveries.Vault != nil}
	if way == "" || available[way] {
		return
	}
	if _, known := available[way]; known {
		c.wrong(n, "%s is not set up; say where under delivery at the top of the file", quote(way))
	} else {
		c.wrong(n, "must be one of %s", list([]string{credhub.Inline, credhub.CredHubRef, credhub.VaultRef}))
	}
}
