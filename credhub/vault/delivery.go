package vault

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"

	"github.com/chandler-broker/chandler/credhub"
)

// Login is how applications of one kind of platform log in at Vault.
type Login struct {
	// Mount is where the authentication method is mounted, Role the role there.
	Mount, Role string
	// VaultAuth is the object of the Vault Secrets Operator, "name" or
	// "namespace/name", that logs in on Kubernetes; empty: one comes with the other
	// manifests.
	VaultAuth string
}

// DeliveryConfig says where applications read their credentials in Vault.
type DeliveryConfig struct {
	// Address is Vault's as applications reach it, Namespace theirs; empty: the
	// broker's own.
	Address, Namespace string
	// Prefix is the folder below the Store's mount. It has to be another than the
	// Store's own: applications read here.
	Prefix string
	// CloudFoundry and Kubernetes are how applications log in there; nil: they
	// are not served.
	CloudFoundry, Kubernetes *Login
}

// Delivery hands credentials out through Vault: an application logs in with what
// its platform gave it (Cloud Foundry's instance identity, a service account's
// token), and one templated policy for all
// (deploy/vault/applications-policy.hcl) lets it read what is below its own name.
type Delivery struct {
	config DeliveryConfig
	store  *Store // of the same Vault, at the applications' prefix
}

var _ credhub.Delivery = (*Delivery)(nil)

// NewDelivery makes a Delivery in the Store's Vault, mount and session.
func NewDelivery(s *Store, c DeliveryConfig) (*Delivery, error) {
	if c.Prefix == s.config.Prefix {
		return nil, errors.New("vault: the applications' prefix is the broker's own, where they may not read")
	}
	c.Address, c.Namespace = cmp.Or(c.Address, s.clients.root.Address()), cmp.Or(c.Namespace, s.config.Namespace)
	config := s.config
	config.Prefix = c.Prefix
	return &Delivery{config: c, store: &Store{config: config, clients: s.clients, session: s.session}}, nil
}

// Check implements credhub.Delivery.
func (d *Delivery) Check(r credhub.Reader) error {
	login, owner := d.reader(r)
	switch {
	case r.Platform == "kubernetes" && r.Namespace == "":
		return errors.New("the credentials are read in Vault by a namespace's pods, and the request's context names no namespace")
	case r.Platform != "kubernetes" && r.AppID == "":
		return errors.New("the credentials are read in Vault by the application itself: bind an application; a service key has nobody who could read")
	case login == nil:
		return errors.New("applications of this platform have no way into Vault; ask the operator of this broker for a plan with other delivery")
	case !credhub.IsPlain(owner):
		return errors.New("the application's ID or namespace is none that a policy of Vault could name")
	}
	return nil
}

// reader is how the reader logs in, and by what name the policy knows it.
func (d *Delivery) reader(r credhub.Reader) (login *Login, owner string) {
	if r.Platform == "kubernetes" {
		return d.config.Kubernetes, r.Namespace
	}
	return d.config.CloudFoundry, r.AppID
}

func place(r credhub.Reader) credhub.Path {
	if r.Platform == "kubernetes" {
		return credhub.NamespacePath(r.Namespace, r.BindingID)
	}
	return credhub.ApplicationPath(r.AppID, r.BindingID)
}

// Deliver implements credhub.Delivery.
func (d *Delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	return d.store.Put(ctx, place(r), value)
}

// Withdraw implements credhub.Delivery.
func (d *Delivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	return d.store.Delete(ctx, place(r))
}

// Ready implements credhub.Delivery.
func (d *Delivery) Ready(ctx context.Context) error { return d.store.Ready(ctx) }

// Reference implements credhub.Delivery.
func (d *Delivery) Reference(r credhub.Reader) map[string]any {
	path := d.config.Prefix + "/" + place(r).String()
	login, _ := d.reader(r)
	if login == nil { // no longer configured; what was delivered can still be named
		login = &Login{}
	}
	at := map[string]any{
		"address": d.config.Address, "mount": d.store.config.Mount, "path": path,
		"auth_mount": login.Mount, "auth_role": login.Role,
	}
	if d.config.Namespace != "" {
		at["namespace"] = d.config.Namespace
	}
	return map[string]any{credhub.VaultRef: at}
}

// Attributes implements credhub.Delivery: on Kubernetes, manifests for the two usual
// operators, and annotations for Vault's agent.
func (d *Delivery) Attributes(r credhub.Reader) map[string]any {
	login, _ := d.reader(r)
	if r.Platform != "kubernetes" || login == nil {
		return nil
	}
	m := manifests{
		DeliveryConfig: d.config, login: *login, mount: d.store.config.Mount, path: d.config.Prefix + "/" + place(r).String(),
		name: "binding-" + nameOf(r.BindingID), owner: r.Namespace,
	}
	all := map[string]any{
		"external_secret": m.externalSecret(), "secret_store": m.secretStore(),
		"vault_static_secret": m.staticSecret(), "agent_annotations": m.agent(),
	}
	if login.VaultAuth == "" {
		all["vault_auth"], all["vault_connection"] = m.vaultAuth(), m.vaultConnection()
	}
	return all
}

var objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$`)

// nameOf makes a name that objects of Kubernetes may have (RFC 1123, a label).
func nameOf(id string) string {
	if objectName.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}
