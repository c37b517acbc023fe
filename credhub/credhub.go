// Package credhub is the contract of a credential store, the one place where the broker
// stores secrets, and of the ways in which credentials reach applications. It is not Cloud
// Foundry's CredHub, to which package cfcredhub delivers. Stores pass the suite in credtest.
package credhub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/chandler-broker/chandler/services"
)

// ErrNotFound is what Get returns, wrapped, if nothing is stored.
var ErrNotFound = errors.New("no such credential")

// Store stores secrets. Every method is safe for concurrent use, by several replicas of
// the broker too, and may be repeated after any failure. Values are JSON objects that
// pass CheckValue. Errors never contain a value.
type Store interface {
	// Ensure stores value at path unless a value is stored there, and returns the stored
	// value. Of several concurrent callers one wins, and all return the winner's value.
	Ensure(ctx context.Context, path Path, value json.RawMessage) (json.RawMessage, error)
	// Put stores value at path and replaces what was there.
	Put(ctx context.Context, path Path, value json.RawMessage) error
	// Change passes the stored value, or nil, to change, and stores what that returns.
	// It loses no concurrent change: if another caller wrote meanwhile, it calls change
	// again. If change fails, Change returns its error and stores nothing. The value is
	// durable when Change returns.
	Change(ctx context.Context, path Path, change func(stored json.RawMessage) (json.RawMessage, error)) error
	// Get returns the value at path, or ErrNotFound.
	Get(ctx context.Context, path Path) (json.RawMessage, error)
	// Delete removes every version of the value at path, so that the store can recover
	// nothing. Deleting an absent value succeeds.
	Delete(ctx context.Context, path Path) error
	// Ready returns nil if the store would serve now, and otherwise an error for the
	// operator.
	Ready(ctx context.Context) error
}

// Path names a credential. Only the functions below build one.
type Path struct{ segments string }

// String returns the path below the store's root: segments of
// [A-Za-z0-9_.=-] with slashes between them, 200 characters at most.
func (p Path) String() string { return p.segments }

// SeedPath is for a binding's seed.
func SeedPath(instanceID, bindingID string) Path { return bindingPath(instanceID, bindingID, "seed") }

// CredentialsPath is for a binding's credentials.
func CredentialsPath(instanceID, bindingID string) Path {
	return bindingPath(instanceID, bindingID, "credentials")
}

// VolumeMountsPath is for a binding's volume mounts, which contain the credentials that a
// platform's drivers mount with.
func VolumeMountsPath(instanceID, bindingID string) Path {
	return bindingPath(instanceID, bindingID, "volume-mounts")
}

// BackupKeyPath is for the key to which an instance's backups are encrypted. Deleting it makes
// the backups unreadable.
func BackupKeyPath(instanceID string) Path {
	return Path{"instances/" + segment(instanceID) + "/backup-key"}
}

// AdministratorsPath is for the operator's secrets of the backends' servers: one object,
// names to texts.
func AdministratorsPath() Path { return Path{"administrators"} }

// OwnerPath is for credentials that their owner reads itself: an application, or a
// namespace of Kubernetes. Policies name the owner as the authentication method does, so
// it has to be IsPlain.
func OwnerPath(platform, owner, bindingID string) Path {
	return Path{platform + "/" + segment(owner) + "/" + segment(bindingID)}
}

func bindingPath(instanceID, bindingID, leaf string) Path {
	return Path{"instances/" + segment(instanceID) + "/bindings/" + segment(bindingID) + "/" + leaf}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// IsPlain reports whether an ID is a path segment itself.
func IsPlain(id string) bool { return plain.MatchString(id) }

// segment makes a path segment of any ID: a harmless ID itself, so that an operator can
// find a UUID, otherwise its SHA-256 after a sign that no harmless ID contains.
func segment(id string) string {
	if IsPlain(id) {
		return id
	}
	return fmt.Sprintf("sha256=%x", sha256.Sum256([]byte(id)))
}

// How a binding's credentials reach its application, in the catalog's words.
const (
	// Inline puts them into the answer; the platform passes them on.
	Inline = "inline"
	// CredHubRef answers with a reference that Cloud Foundry resolves at CredHub.
	CredHubRef = "credhub-ref" //nolint:gosec // it is a word of the catalog
	// VaultRef answers with where the application itself reads them in Vault.
	VaultRef = "vault-ref"
)

// Reader is who reads a binding's credentials, as the platform's request says.
type Reader struct {
	InstanceID, BindingID string
	// AppID is the application's; empty for a service key.
	AppID string
	// ClientID is the UAA client that resolves a service key's credentials (OSB,
	// "Bind Resource Object", credential_client_id).
	ClientID string
	// Platform is the kind of platform, "cloudfoundry" or "kubernetes". Namespace is the
	// one on Kubernetes (OSB, "Platform Context Object").
	Platform, Namespace string
}

// Delivery is a place where applications fetch their credentials themselves, so that no
// platform sees them. It holds copies; the Store holds the originals. Implementations are
// safe for concurrent use, and every method may be repeated after a crash half-way.
type Delivery interface {
	// Check returns an error for the user if this reader could not read. It makes no
	// outside call.
	Check(Reader) error
	// Deliver puts value where the reader, and no other reader, may read it.
	Deliver(ctx context.Context, r Reader, value json.RawMessage) error
	// Reference is what the platform gets instead of the credentials. It depends only
	// on the reader.
	Reference(Reader) map[string]any
	// Attributes are for the metadata of the answer, such as manifests that fetch the
	// credentials; nil: none.
	Attributes(Reader) map[string]any
	// Withdraw removes the value and the permission to read it. It succeeds if they are
	// absent.
	Withdraw(ctx context.Context, r Reader) error
	// Ready returns nil if Deliver would work now, and otherwise an error for the
	// operator.
	Ready(ctx context.Context) error
}

// CheckValue returns an error unless a store accepts the value: one JSON object, with
// numbers that survive being 64-bit floats on their way. The error does not quote the
// value.
func CheckValue(value json.RawMessage) error {
	if !json.Valid(value) || bytes.TrimLeft(value, " \t\r\n")[0] != '{' {
		return errors.New("the value is not a JSON object")
	}
	return services.CheckNumbers("value", value)
}
