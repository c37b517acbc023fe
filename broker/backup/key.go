package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Key is the age key of an instance, to which its backups are encrypted. It lies in the
// credential store. Every print verb redacts it.
type Key struct{ identity *age.X25519Identity }

// Identity decrypts the instance's backups.
func (k Key) Identity() age.Identity { return k.identity }

// Recipient returns the public key to which the instance's backups are encrypted.
func (k Key) Recipient() *age.X25519Recipient { return k.identity.Recipient() }

// Format redacts the key in every verb of package fmt.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, services.Secret{}) }

// storedKey is the value in the credential store.
type storedKey struct {
	Identity string `json:"identity"`
}

// EnsureKey returns an instance's key. If the instance has no key yet, EnsureKey makes one.
func EnsureKey(ctx context.Context, store credhub.Store, instanceID string) (Key, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("make the key of an instance's backups: %w", err)
	}
	value, err := json.Marshal(storedKey{identity.String()})
	if err != nil {
		return Key{}, err
	}
	value, err = store.Ensure(ctx, credhub.BackupKeyPath(instanceID), value)
	if err != nil {
		return Key{}, fmt.Errorf("store the key of an instance's backups: %w", err)
	}
	return parseKey(value)
}

// LoadKey returns an instance's key, or ErrKey if the credential store does not have it.
func LoadKey(ctx context.Context, store credhub.Store, instanceID string) (Key, error) {
	value, err := store.Get(ctx, credhub.BackupKeyPath(instanceID))
	if errors.Is(err, credhub.ErrNotFound) {
		return Key{}, fmt.Errorf("%w: the credential store has no key of the instance; "+
			"restore the credential store, or decrypt with the operator's key", ErrKey)
	}
	if err != nil {
		return Key{}, fmt.Errorf("read the key of an instance's backups: %w", err)
	}
	return parseKey(value)
}

// DeleteKey deletes the key of an instance. Only the operator can decrypt its backups after
// that, if the catalog had a recipient; otherwise nobody can.
func DeleteKey(ctx context.Context, store credhub.Store, instanceID string) error {
	if err := store.Delete(ctx, credhub.BackupKeyPath(instanceID)); err != nil {
		return fmt.Errorf("delete the key of an instance's backups: %w", err)
	}
	return nil
}

// parseKey reads a stored value. Its errors do not quote it.
func parseKey(value json.RawMessage) (Key, error) {
	var stored storedKey
	err := json.Unmarshal(value, &stored)
	if err != nil {
		return Key{}, fmt.Errorf("%w: the value in the credential store is not a key", ErrKey)
	}
	identity, err := age.ParseX25519Identity(stored.Identity)
	if err != nil {
		return Key{}, fmt.Errorf("%w: the value in the credential store is not an age identity", ErrKey)
	}
	return Key{identity}, nil
}

// ParseIdentity reads the operator's private key, the offline half of backups.recipient, from
// the file that age-keygen wrote. The error does not quote it.
func ParseIdentity(file io.Reader) (age.Identity, error) {
	identities, err := age.ParseIdentities(io.LimitReader(file, 1<<16))
	if err != nil || len(identities) != 1 {
		return nil, errors.New("must be a file of age-keygen with one key, AGE-SECRET-KEY-1…")
	}
	return identities[0], nil
}
