package vault

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// The ways to log in.
const (
	// AuthToken uses a token that somebody else made.
	AuthToken = "token"
	// AuthAppRole logs in with a role ID and a secret ID.
	AuthAppRole = "approle"
	// AuthKubernetes logs in as the pod's service account.
	AuthKubernetes = "kubernetes"
)

const (
	defaultMount     = "secret"
	defaultPrefix    = "chandler"
	defaultTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path, no credential
)

// Config says which Vault keeps the credentials and how to log in there.
type Config struct {
	// Address, Namespace, CACert and Token are as in VAULT_ADDR,
	// VAULT_NAMESPACE, VAULT_CACERT (a file) and VAULT_TOKEN. Where one is
	// empty, what Vault's client finds in the process's environment holds,
	// as it does for all its other variables.
	Address   string
	Namespace string
	CACert    string
	Token     services.Secret

	// Mount is where the KV version 2 engine is mounted, by default "secret".
	Mount string
	// Prefix is the folder below Mount that belongs to this broker, by
	// default "chandler".
	Prefix string

	// Auth is how to log in: AuthToken (the default), AuthAppRole or
	// AuthKubernetes.
	Auth string

	// AppRoleMount is where the AppRole method is mounted, by default
	// "approle".
	AppRoleMount string
	RoleID       string
	// SecretID is the secret ID itself, SecretIDFile a file that holds it
	// and is read anew at every login, so that it can be replaced.
	SecretID     services.Secret
	SecretIDFile string

	// KubernetesMount is where the Kubernetes method is mounted, by default
	// "kubernetes".
	KubernetesMount string
	KubernetesRole  string
	// JWTFile holds the service account's token, by default where a pod finds
	// its own. It is read anew at every login.
	JWTFile string

	// Logger is told of logins and of tokens that end; it may be nil.
	Logger *slog.Logger
}

// FromEnv reads the configuration from environment variables:
//
//	VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT, VAULT_TOKEN   as Vault's own tools do
//	VAULT_KV_MOUNT              mount of the KV version 2 engine (secret)
//	VAULT_KV_PREFIX             folder below it for this broker (chandler)
//	VAULT_AUTH_METHOD           token (the default), approle or kubernetes
//	VAULT_APPROLE_MOUNT         mount of the AppRole method (approle)
//	VAULT_ROLE_ID               AppRole: the role ID
//	VAULT_SECRET_ID             AppRole: the secret ID, or
//	VAULT_SECRET_ID_FILE        the file that holds it
//	VAULT_KUBERNETES_MOUNT      mount of the Kubernetes method (kubernetes)
//	VAULT_KUBERNETES_ROLE       Kubernetes: the role
//	VAULT_KUBERNETES_JWT_FILE   the service account's token (where a pod finds its own)
//
// An empty variable counts as none. All faults are reported together.
func FromEnv(lookup func(string) (string, bool)) (Config, error) {
	get := func(name string) string {
		value, _ := lookup(name)
		return strings.TrimSpace(value)
	}
	c := Config{
		Address:         get("VAULT_ADDR"),
		Namespace:       get("VAULT_NAMESPACE"),
		CACert:          get("VAULT_CACERT"),
		Token:           services.NewSecret(get("VAULT_TOKEN")),
		Mount:           get("VAULT_KV_MOUNT"),
		Prefix:          get("VAULT_KV_PREFIX"),
		Auth:            get("VAULT_AUTH_METHOD"),
		AppRoleMount:    get("VAULT_APPROLE_MOUNT"),
		RoleID:          get("VAULT_ROLE_ID"),
		SecretID:        services.NewSecret(get("VAULT_SECRET_ID")),
		SecretIDFile:    get("VAULT_SECRET_ID_FILE"),
		KubernetesMount: get("VAULT_KUBERNETES_MOUNT"),
		KubernetesRole:  get("VAULT_KUBERNETES_ROLE"),
		JWTFile:         get("VAULT_KUBERNETES_JWT_FILE"),
	}
	c.setDefaults()
	return c, c.validate()
}

func (c *Config) setDefaults() {
	for value, otherwise := range map[*string]string{
		&c.Mount: defaultMount, &c.Prefix: defaultPrefix, &c.Auth: AuthToken,
		&c.AppRoleMount: "approle", &c.KubernetesMount: "kubernetes", &c.JWTFile: defaultTokenFile,
	} {
		*value = cmp.Or(*value, otherwise)
	}
	for _, path := range []*string{&c.Mount, &c.Prefix, &c.AppRoleMount, &c.KubernetesMount} {
		*path = strings.Trim(*path, "/")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// segments is what a path in Vault may be made of here: with nothing in it that
// has a meaning in a URL or in a policy.
var segments = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)

func (c *Config) validate() error {
	var faults []error
	for _, path := range []struct{ name, value string }{
		{"VAULT_KV_MOUNT", c.Mount}, {"VAULT_KV_PREFIX", c.Prefix},
		{"VAULT_APPROLE_MOUNT", c.AppRoleMount}, {"VAULT_KUBERNETES_MOUNT", c.KubernetesMount},
	} {
		if !segments.MatchString(path.value) {
			faults = append(faults, fmt.Errorf("%s: %q is no path: use letters, digits, _ . - and slashes between them", path.name, path.value))
		}
	}
	switch c.Auth {
	case AuthToken:
	case AuthAppRole:
		faults = append(faults, c.validateAppRole()...)
	case AuthKubernetes:
		if c.KubernetesRole == "" {
			faults = append(faults, errors.New("VAULT_KUBERNETES_ROLE is missing: name the role of Vault's Kubernetes method to log in with"))
		}
	default:
		faults = append(faults, fmt.Errorf("VAULT_AUTH_METHOD: %q is none of token, approle, kubernetes", c.Auth))
	}
	return errors.Join(faults...)
}

func (c *Config) validateAppRole() (faults []error) {
	if c.RoleID == "" {
		faults = append(faults, errors.New("VAULT_ROLE_ID is missing: name the role ID to log in with"))
	}
	if c.SecretID.IsZero() == (c.SecretIDFile == "") {
		faults = append(faults, errors.New("set one of VAULT_SECRET_ID and VAULT_SECRET_ID_FILE"))
	}
	return faults
}
