package state

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

const (
	keySize   = 32 // of AES-256
	keyIDSize = 8  // of the key's ID at the start of a sealed value
)

// ErrSealed is returned for a value that cannot be opened.
var ErrSealed = errors.New("a sealed value does not open: it was changed or replaced by another one, or the key that sealed it is missing among the functions' keys")

// Sealer encrypts applications' secrets (AES-256-GCM) and authenticates tokens
// (HMAC-SHA256). The first key seals; older keys after it only open. It is safe for
// concurrent use, and does not print its keys.
type Sealer struct{ keys []sealingKey }

type sealingKey struct {
	id   []byte
	aead cipher.AEAD
	mac  []byte
}

// Format implements fmt.Formatter.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[sealer]")) }

// LogValue implements slog.LogValuer.
func (s *Sealer) LogValue() slog.Value { return slog.StringValue("[sealer]") }

// GenerateKey returns a line for ParseKeys: 32 random bytes in base64.
func GenerateKey() string {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// ParseKeys reads a key from each line that is not empty: 32 bytes in base64 (RFC 4648,
// section 4). The error names the line and does not quote it.
func ParseKeys(text []byte) (*Sealer, error) {
	s := &Sealer{}
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("functions' keys, line %d: not 32 bytes in base64; `openssl rand -base64 32` makes a key", i+1)
		}
		key, err := newSealingKey(raw)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return nil, errors.New("functions' keys: no key is given; `openssl rand -base64 32` makes one")
	}
	return s, nil
}

// newSealingKey derives a separate key for each use, and an ID that does not reveal the key.
func newSealingKey(raw []byte) (sealingKey, error) {
	derive := func(label string, n int) []byte {
		out, err := hkdf.Key(sha256.New, raw, nil, "chandler/functions/"+label, n)
		if err != nil {
			panic(err) // only for n > 8160
		}
		return out
	}
	block, err := aes.NewCipher(derive("seal", keySize))
	if err != nil {
		return sealingKey{}, fmt.Errorf("AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealingKey{}, fmt.Errorf("AES-GCM: %w", err)
	}
	return sealingKey{id: derive("key-id", keyIDSize), aead: aead, mac: derive("mac", keySize)}, nil
}

// Seal encrypts value for its place, the unique name under which alone it opens.
func (s *Sealer) Seal(place string, value []byte) []byte {
	k := s.keys[0]
	return k.aead.Seal(slices.Clone(k.id), nil, value, []byte(place))
}

// Open decrypts a value that was sealed for place. The error is ErrSealed.
func (s *Sealer) Open(place string, sealed []byte) ([]byte, error) {
	if len(sealed) < keyIDSize {
		return nil, ErrSealed
	}
	for _, k := range s.keys {
		if !bytes.Equal(k.id, sealed[:keyIDSize]) {
			continue
		}
		if value, err := k.aead.Open(nil, nil, sealed[keyIDSize:], []byte(place)); err == nil {
			return value, nil
		}
	}
	return nil, ErrSealed
}

// Sign returns the HMAC-SHA256 of message for one use.
func (s *Sealer) Sign(use, message string) []byte { return s.keys[0].sign(use, message) }

// Verify says whether mac is that of this use and message, under any of the keys.
func (s *Sealer) Verify(use, message string, mac []byte) bool {
	return slices.ContainsFunc(s.keys, func(k sealingKey) bool { return hmac.Equal(k.sign(use, message), mac) })
}

func (k sealingKey) sign(use, message string) []byte {
	h := hmac.New(sha256.New, k.mac)
	_, _ = fmt.Fprintf(h, "%d:%s%s", len(use), use, message)
	return h.Sum(nil)
}
