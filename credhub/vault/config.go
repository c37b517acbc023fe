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

const defaultTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // it is a path

// Config says which Vault stores the credentials and how to log in there. FromEnv reads
// each field from the environment variable that its comment names.
type Config struct {
	// Address, Namespace, CACert (a file) and Token are VAULT_ADDR, VAULT_NAMESPACE,
	// VAULT_CACERT and VAULT_TOKEN. For an empty one, Vault's client reads the process's
	// environment, as it does for its other variables.
	Address   string
	Namespace string
	CACert    string
	Token     services.Secret

	// Mount is VAULT_KV_MOUNT, where the KV version 2 engine is mounted; by default
	// "secret".
	Mount string
	// Prefix is VAULT_KV_PREFIX, this broker's folder below Mount; by default "chandler".
	Prefix string

	// Auth is VAULT_AUTH_METHOD: AuthToken (the default), AuthAppRole or AuthKubernetes.
	Auth string

	// AppRoleMount is VAULT_APPROLE_MOUNT, by default "approle". RoleID is VAULT_ROLE_ID.
	AppRoleMount string
	RoleID       string
	// SecretID is VAULT_SECRET_ID. SecretIDFile, VAULT_SECRET_ID_FILE, is a file that
	// contains it instead; it is read at every login, so that it can be replaced.
	SecretID     services.Secret
	SecretIDFile string

	// KubernetesMount is VAULT_KUBERNETES_MOUNT, by default "kubernetes". KubernetesRole
	// is VAULT_KUBERNETES_ROLE.
	KubernetesMount string
	KubernetesRole  string
	// JWTFile is VAULT_KUBERNETES_JWT_FILE, the file of the service account's token; by
	// default a pod's own. It is read at every login.
	JWTFile string

	// Logger logs logins and tokens that end; nil: nothing does.
	Logger *slog.Logger
}

// FromEnv reads the configuration from environment variables. It ignores empty ones, and
// reports all faults together.
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
		&c.Mount: "secret", &c.Prefix: "chandler", &c.Auth: AuthToken,
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

// segments matches paths in Vault that contain nothing with a meaning in a URL or a policy.
var segments = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)

func (c *Config) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, path := range []struct{ name, value string }{
		{"VAULT_KV_MOUNT", c.Mount}, {"VAULT_KV_PREFIX", c.Prefix},
		{"VAULT_APPROLE_MOUNT", c.AppRoleMount}, {"VAULT_KUBERNETES_MOUNT", c.KubernetesMount},
	} {
		fault(!segments.MatchString(path.value), "%s: %q is not a path: use letters, digits, _ . - and slashes between them", path.name, path.value)
	}
	switch c.Auth {
	case AuthToken:
	case AuthAppRole:
		fault(c.RoleID == "", "VAULT_ROLE_ID is missing: set it to the role ID to log in with")
		fault(c.SecretID.IsZero() == (c.SecretIDFile == ""), "set one of VAULT_SECRET_ID and VAULT_SECRET_ID_FILE")
	case AuthKubernetes:
		fault(c.KubernetesRole == "", "VAULT_KUBERNETES_ROLE is missing: set it to the role of Vault's Kubernetes method to log in with")
	default:
		fault(true, "VAULT_AUTH_METHOD: %q is not one of token, approle, kubernetes", c.Auth)
	}
	return errors.Join(faults...)
}
