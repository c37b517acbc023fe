package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// keySize is that of AES-256.
const keySize = 32

// Keys are the master keys: the first seals, and all of them open. They print as their
// identifiers.
type Keys struct{ all []masterKey }

// masterKey wraps the keys of secrets. Its identifier derives from it and reveals nothing.
type masterKey struct {
	id   string
	aead cipher.AEAD
}

// GenerateKey makes a line for a key file: 32 random bytes in base64.
func GenerateKey() string { return base64.StdEncoding.EncodeToString(randomKey()) }

func randomKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read aborts the program instead
	return key
}

// ParseKeys reads the content of a key file or of an environment variable: one key a
// line, each 32 bytes in base64 (RFC 4648, section 4); empty lines are ignored. The first
// key seals; the older ones below it only open. Errors name the lines and do not quote
// them.
func ParseKeys(text []byte) (Keys, error) {
	var keys Keys
	var faults []error
	number := 0
	for line := range bytes.Lines(text) {
		number++
		encoded := strings.TrimSpace(string(line))
		if encoded == "" {
			continue
		}
		key, err := parseKey(encoded)
		if err == nil && keys.find(key.id) != nil {
			err = errors.New("the same key as on a line above")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("sealing keys, line %d: %w", number, err))
			continue
		}
		keys.all = append(keys.all, key)
	}
	if len(keys.all) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("sealing keys: there are none; `openssl rand -base64 32` makes one"))
	}
	if len(faults) > 0 {
		return Keys{}, errors.Join(faults...)
	}
	return keys, nil
}

func parseKey(line string) (masterKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		return masterKey{}, errors.New("not base64; `openssl rand -base64 32` makes a key")
	}
	if len(raw) != keySize {
		return masterKey{}, fmt.Errorf("%d bytes instead of %d; `openssl rand -base64 32` makes a key", len(raw), keySize)
	}
	id, err := hkdf.Key(sha256.New, raw, nil, "chandler/sealed/key-id", 8)
	if err != nil {
		return masterKey{}, fmt.Errorf("name the key: %w", err)
	}
	aead, err := newAEAD(raw)
	if err != nil {
		return masterKey{}, err
	}
	return masterKey{id: hex.EncodeToString(id), aead: aead}, nil
}

// newAEAD is AES-GCM (NIST SP 800-38D) with a random nonce before each ciphertext. One key
// may seal 2^32 times.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("AES-GCM: %w", err)
	}
	return aead, nil
}

func (k Keys) find(id string) *masterKey {
	i := slices.IndexFunc(k.all, func(key masterKey) bool { return key.id == id })
	if i < 0 {
		return nil
	}
	return &k.all[i]
}

// IDs returns the keys' identifiers in order.
func (k Keys) IDs() []string {
	ids := make([]string, len(k.all))
	for i, key := range k.all {
		ids[i] = key.id
	}
	return ids
}

// Format shows identifiers in every verb of package fmt.
func (k Keys) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "sealing keys %s", strings.Join(k.IDs(), ", "))
}

// LogValue shows identifiers in package log/slog.
func (k Keys) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// envelope is a sealed value: the value under a key of its own, and that key under a master
// key. Both are bound to the path: an envelope that was moved to another does not open.
type envelope struct {
	keyID   string
	wrapped []byte
	sealed  []byte
}

// errDamaged is for an envelope that a known key does not open.
var errDamaged = errors.New("it was changed or put in place of another: restore it from a backup of the state database, or unbind and bind again")

// The two uses have different labels, so that no ciphertext serves both.
func keyLabel(path string) []byte   { return []byte("chandler/sealed/key\x00" + path) }
func valueLabel(path string) []byte { return []byte("chandler/sealed/value\x00" + path) }

func (k Keys) seal(path string, value []byte) (envelope, error) {
	key := randomKey()
	aead, err := newAEAD(key)
	if err != nil {
		return envelope{}, err
	}
	e := k.wrap(path, key)
	e.sealed = aead.Seal(nil, nil, value, valueLabel(path))
	return e, nil
}

// wrap puts the key of a secret under the first master key.
func (k Keys) wrap(path string, key []byte) envelope {
	master := k.all[0]
	return envelope{keyID: master.id, wrapped: master.aead.Seal(nil, nil, key, keyLabel(path))}
}

func (k Keys) unwrap(path string, e envelope) ([]byte, error) {
	master := k.find(e.keyID)
	if master == nil {
		return nil, fmt.Errorf("it is sealed under the key %s, which is not among the sealing keys (%s): add that key below the others",
			e.keyID, strings.Join(k.IDs(), ", "))
	}
	key, err := master.aead.Open(nil, nil, e.wrapped, keyLabel(path))
	if err != nil {
		return nil, errDamaged
	}
	return key, nil
}

func (k Keys) open(path string, e envelope) ([]byte, error) {
	key, err := k.unwrap(path, e)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, errDamaged
	}
	value, err := aead.Open(nil, nil, e.sealed, valueLabel(path))
	if err != nil {
		return nil, errDamaged
	}
	return value, nil
}
