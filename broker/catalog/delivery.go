package catalog

import (
	"regexp"
	"strings"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Deliveries says how credentials may get to applications other than inline; nil
// where a way is not set up.
type Deliveries struct {
	CredHub *CredHubDelivery
	Vault   *VaultDelivery
}

// CredHubDelivery is the CredHub for credhub-ref, with the broker's identity there.
type CredHubDelivery struct {
	URL, CAFile, CertificateFile, KeyFile, ClientID, Prefix string
	ClientSecret                                            services.Secret
}

// VaultDelivery is where applications read for vault-ref, in the Vault that is the
// broker's credential store.
type VaultDelivery struct {
	Address, Namespace, Prefix string
	CloudFoundry, Kubernetes   *VaultLogin
}

// VaultLogin is how applications of a platform log in at Vault. VaultAuth is the
// Vault Secrets Operator's object for that on Kubernetes; empty: the broker hands one
// out.
type VaultLogin struct{ Mount, Role, VaultAuth string }

// vaultAuthName is an object's name (RFC 1123, a subdomain), its namespace in front.
var vaultAuthName = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// Deliveries returns the ways of delivery that the file sets up.
func (c *Catalog) Deliveries() Deliveries { return c.deliveries }

// Delivery returns how a binding of the plan gets to its application: the plan's
// word, or the platform's, or inline.
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

func (c *checker) deliveries(top object) Deliveries {
	var d Deliveries
	section := c.object(top.node.member("delivery"), credhub.CredHubRef, credhub.VaultRef)
	if n := section.node.member(credhub.CredHubRef); n != nil {
		o := c.object(n, "url", "ca_file", "certificate_file", "key_file", "client_id", "client_secret", "prefix")
		o.need("url")
		d.CredHub = &CredHubDelivery{
			URL: o.text("url"), CAFile: o.text("ca_file"), CertificateFile: o.text("certificate_file"), KeyFile: o.text("key_file"),
			ClientID: o.text("client_id"), ClientSecret: services.NewSecret(o.text("client_secret")), Prefix: o.text("prefix"),
		}
	}
	if n := section.node.member(credhub.VaultRef); n != nil {
		o := c.object(n, "address", "namespace", "prefix", "cloudfoundry", "kubernetes")
		d.Vault = &VaultDelivery{
			Address: o.text("address"), Namespace: o.text("namespace"), Prefix: strings.Trim(o.text("prefix"), "/"),
			CloudFoundry: c.vaultLogin(o, "cloudfoundry"), Kubernetes: c.vaultLogin(o, "kubernetes", "vault_auth"),
		}
		if d.Vault.Prefix == "" {
			d.Vault.Prefix = "chandler-applications"
		}
		if o.node != nil && d.Vault.CloudFoundry == nil && d.Vault.Kubernetes == nil {
			c.wrong(n, "nobody could read: say under cloudfoundry or kubernetes how applications log in there")
		}
	}
	c.delivered = d
	return d
}

func (c *checker) vaultLogin(o object, key string, more ...string) *VaultLogin {
	n := o.node.member(key)
	if n == nil {
		return nil
	}
	l := c.object(n, append([]string{"mount", "role"}, more...)...)
	l.need("mount", "role")
	login := &VaultLogin{Mount: strings.Trim(l.text("mount"), "/"), Role: l.text("role"), VaultAuth: l.text("vault_auth")}
	if login.VaultAuth != "" && !vaultAuthName.MatchString(login.VaultAuth) {
		c.wrong(n.member("vault_auth"), "must be the name of a VaultAuth, with its namespace in front where that is another: operators/default")
	}
	return login
}

// delivery reads the key "delivery" of a platform or a plan. The section has been
// read by then.
func (c *checker) delivery(o object) string {
	n, way := o.node.member("delivery"), o.text("delivery")
	set := map[string]bool{credhub.Inline: true, credhub.CredHubRef: c.delivered.CredHub != nil, credhub.VaultRef: c.delivered.Vault != nil}
	known, ok := set[way]
	switch {
	case n == nil || way == "" || known:
	case !ok:
		c.wrong(n, "must be one of %s", list([]string{credhub.Inline, credhub.CredHubRef, credhub.VaultRef}))
	default:
		c.wrong(n, "%s is not set up; say where under delivery at the top of the file", quote(way))
	}
	return way
}
