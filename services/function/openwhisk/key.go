package openwhisk

import (
	"fmt"
	"math/big"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/services"
)

// accessKey is what OpenWhisk calls a namespace's key: "uuid:key".
type accessKey struct {
	uuid uuid.UUID
	key  services.Secret
}

// keyLength is that of OpenWhisk's keys, [A-Za-z0-9]: 381 bits.
const keyLength = 64

// deriveKey makes the binding's own key, the same one each time.
func deriveKey(seed *services.Seed) accessKey {
	id := uuid.UUID(seed.Bytes("uuid", len(uuid.UUID{})))
	id[6] = id[6]&0x0f | 0x40 // version 4 (RFC 9562, section 5.4), as OpenWhisk's are
	id[8] = id[8]&0x3f | 0x80
	// Far more bits than are needed: what the remainder is uneven by is below 2^-128.
	digits := new(big.Int).SetBytes(seed.Bytes("key", 64)).Text(62)
	key := fmt.Sprintf("%0*s", keyLength, digits)
	key = key[len(key)-keyLength:]
	seed.Conceal(key)
	return accessKey{id, services.NewSecret(key)}
}

// auth is the key as OpenWhisk's clients take it.
func (k accessKey) auth() string { return k.uuid.String() + ":" + k.key.Reveal() }
