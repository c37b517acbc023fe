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
	// VaultAuth is the Vault Secrets Operator's object, "name" or "namespace/name", that
	// logs in on Kubernetes; empty: the other manifests include one.
	VaultAuth string
}

// DeliveryConfig says where applications read their credentials in Vault.
type DeliveryConfig struct {
	// Address is where applications reach Vault, Namespace theirs; empty: as the broker's.
	Address, Namespace string
	// Prefix is the folder below the Store's mount. It must differ from the Store's own,
	// because applications read here.
	Prefix string
	// CloudFoundry and Kubernetes are how applications log in there; nil: they cannot.
	CloudFoundry, Kubernetes *Login
}

// Delivery delivers credentials through Vault: an application logs in with what its
// platform gave it (Cloud Foundry's instance identity, a service account's token). One
// templated policy, deploy/vault/applications-policy.hcl, lets each application read what
// is below its own name.
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

// kubernetes is credhub.Reader.Platform of a namespace's pods.
const kubernetes = "kubernetes"

// reader is how a reader logs in, how the policy names it, and where it reads.
func (d *Delivery) reader(r credhub.Reader) (login *Login, owner string, path credhub.Path) {
	if r.Platform == kubernetes {
		return d.config.Kubernetes, r.Namespace, credhub.OwnerPath(kubernetes, r.Namespace, r.BindingID)
	}
	return d.config.CloudFoundry, r.AppID, credhub.OwnerPath("cloudfoundry", r.AppID, r.BindingID)
}

// Check implements credhub.Delivery.
func (d *Delivery) Check(r credhub.Reader) error {
	login, owner, _ := d.reader(r)
	switch {
	case r.Platform == kubernetes && owner == "":
		return errors.New("a namespace's pods read the credentials in Vault, and the request's context names no namespace")
	case owner == "":
		return errors.New("the application itself reads the credentials in Vault: bind an application, because nobody can read those of a service key")
	case login == nil:
		return errors.New("this platform's applications cannot log in at Vault; ask the operator of this broker for a plan with another delivery")
	case !credhub.IsPlain(owner):
		return errors.New("the application's ID or namespace contains characters that a policy of Vault cannot name")
	}
	return nil
}

// Deliver implements credhub.Delivery.
func (d *Delivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	_, _, path := d.reader(r)
	return d.store.Put(ctx, path, value)
}

// Withdraw implements credhub.Delivery.
func (d *Delivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	_, _, path := d.reader(r)
	return d.store.Delete(ctx, path)
}

// Ready implements credhub.Delivery.
func (d *Delivery) Ready(ctx context.Context) error { return d.store.Ready(ctx) }

// Reference implements credhub.Delivery.
func (d *Delivery) Reference(r credhub.Reader) map[string]any {
	login, _, path := d.reader(r)
	if login == nil { // removed from the configuration; what was delivered still has a name
		login = &Login{}
	}
	at := map[string]any{
		"address": d.config.Address, "mount": d.store.config.Mount, "path": d.config.Prefix + "/" + path.String(),
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
	login, namespace, path := d.reader(r)
	if r.Platform != kubernetes || login == nil {
		return nil
	}
	m := manifests{
		DeliveryConfig: d.config, login: *login, mount: d.store.config.Mount, path: d.config.Prefix + "/" + path.String(),
		name: "binding-" + nameOf(r.BindingID), owner: namespace,
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

// nameOf makes a valid name of a Kubernetes object (RFC 1123, a label).
func nameOf(id string) string {
	if objectName.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}
