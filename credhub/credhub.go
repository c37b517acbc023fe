// Package credhub is the contract of a credential store, the one place where the broker
// keeps secrets, and of the ways in which credentials reach applications. It is not Cloud
// Foundry's CredHub, to which package cfcredhub delivers. Stores pass the suite in credtest.
package credhub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
)

// ErrNotFound is what Get returns, wrapped, where nothing is stored.
var ErrNotFound = errors.New("no such credential")

// Store keeps secrets. Every method is safe for concurrent use, by several
// replicas of the broker too, and may be repeated after any failure. Values are
// JSON objects that pass CheckValue. An error never holds a value.
type Store interface {
	// Ensure stores value at path unless something is stored there, and
	// returns what is stored there afterwards. Of several callers at once one
	// wins, and all return the winner's value.
	Ensure(ctx context.Context, path Path, value json.RawMessage) (json.RawMessage, error)
	// Put stores value at path and replaces what was there.
	Put(ctx context.Context, path Path, value json.RawMessage) error
	// Change replaces what is stored at path by what change makes of it, nil where
	// nothing is stored, and loses no change of others: where somebody else wrote
	// meanwhile, change is called again with that. An error of change is returned,
	// and nothing is stored. The value is durable when Change returns.
	Change(ctx context.Context, path Path, change func(stored json.RawMessage) (json.RawMessage, error)) error
	// Get returns what is stored at path; ErrNotFound where there is nothing.
	Get(ctx context.Context, path Path) (json.RawMessage, error)
	// Delete removes every version of what is stored at path, so that nothing
	// is recoverable through the store. Absent is no error.
	Delete(ctx context.Context, path Path) error
	// Ready returns nil when the store would serve now, and else why not, in
	// words for an operator.
	Ready(ctx context.Context) error
}

// Path names a credential. It is built by the functions below only.
type Path struct{ segments string }

// String returns the path below the store's root: segments of
// [A-Za-z0-9_.=-] with slashes between them, 200 characters at most.
func (p Path) String() string { return p.segments }

// SeedPath is where a binding's seed is stored.
func SeedPath(instanceID, bindingID string) Path { return bindingPath(instanceID, bindingID, "seed") }

// CredentialsPath is where what a binding's application reads is stored.
func CredentialsPath(instanceID, bindingID string) Path {
	return bindingPath(instanceID, bindingID, "credentials")
}

// VolumeMountsPath is where a binding's volume mounts are stored, which a
// platform reads: the credentials that drivers mount with are among them.
func VolumeMountsPath(instanceID, bindingID string) Path {
	return bindingPath(instanceID, bindingID, "volume-mounts")
}

// AdministratorsPath is where what the operator keeps for the backends' servers is
// stored: one object, names to texts.
func AdministratorsPath() Path { return Path{"administrators"} }

func bindingPath(instanceID, bindingID, leaf string) Path {
	return Path{"instances/" + segment(instanceID) + "/bindings/" + segment(bindingID) + "/" + leaf}
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// segment makes a path segment of any ID: itself where that is harmless, so
// that an operator finds a UUID under its own name, else its SHA-256 behind a
// sign that no harmless ID has.
func segment(id string) string {
	if plain.MatchString(id) {
		return id
	}
	return "sha256=" + digest(id)
}

func digest(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}
