package sealed

import (
	"errors"
	"fmt"
	"strings"
)

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
