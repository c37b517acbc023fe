package credhub

import (
	"context"
	"encoding/json"
	"regexp"
)

// The ways in which a binding's credentials get to its application, as the
// catalog names them.
const (
	// Inline puts them into the answer, for the platform to hand on.
	Inline = "inline"
	// CredHubRef answers with a reference that Cloud Foundry resolves at CredHub.
	CredHubRef = "credhub-ref" //nolint:gosec // a word of the catalog
	// VaultRef answers with where the application itself reads them in Vault.
	VaultRef = "vault-ref"
)

// Reader is whom a binding's credentials are for, as the platform told it.
type Reader struct {
	InstanceID, BindingID string
	// AppID is the application's; empty for a service key.
	AppID string
	// ClientID is the UAA client that resolves a service key's credentials (OSB,
	// "Bind Resource Object", credential_client_id).
	ClientID string
	// Platform is the kind of platform, "cloudfoundry" or "kubernetes", and
	// Namespace the one on Kubernetes (OSB, "Platform Context Object").
	Platform, Namespace string
}

// Delivery is a place where applications fetch their credentials themselves, so
// that no platform sees them. What it holds are copies: the Store keeps the
// originals. Implementations are safe for concurrent use, and every method may be
// repeated after a crash half-way.
type Delivery interface {
	// Check says, in words for the user, why this reader could not read. It makes
	// no outside call.
	Check(Reader) error
	// Deliver puts value where the reader, and no other reader, may read it.
	Deliver(ctx context.Context, r Reader, value json.RawMessage) error
	// Reference is what the platform is given instead of the credentials. It
	// depends on the reader alone.
	Reference(Reader) map[string]any
	// Attributes are what the answer's metadata tells of the reference, such as
	// manifests that fetch what it refers to; nil where there is nothing to tell.
	Attributes(Reader) map[string]any
	// Withdraw removes what was delivered, and the permission. Absent is no error.
	Withdraw(ctx context.Context, r Reader) error
	// Ready returns nil when Deliver would work now, and else why not, in words
	// for an operator.
	Ready(ctx context.Context) error
}

// ApplicationPath is where what an application reads itself is stored, and
// NamespacePath the same for a namespace of Kubernetes. Both are made for policies
// that name the owner as the authentication method does, so the owner has to be
// IsPlain.
func ApplicationPath(appID, bindingID string) Path {
	return Path{"cloudfoundry/" + segment(appID) + "/" + segment(bindingID)}
}

// NamespacePath is to a namespace what ApplicationPath is to an application.
func NamespacePath(namespace, bindingID string) Path {
	return Path{"kubernetes/" + segment(namespace) + "/" + segment(bindingID)}
}

// IsPlain says whether an ID stands in paths as itself.
func IsPlain(id string) bool { return plain.MatchString(id) }

var lowercase = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// FoldedPath is CredentialsPath for stores that take "a" and "A" for the same, and
// no '=' in names.
func FoldedPath(instanceID, bindingID string) Path {
	fold := func(id string) string {
		if lowercase.MatchString(id) {
			return id
		}
		return "sha256:" + digest(id)
	}
	return Path{fold(instanceID) + "/" + fold(bindingID) + "/credentials"}
}
