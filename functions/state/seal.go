package state

import (
	"bufio"
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

// keySize is that of AES-256.
const keySize = 32

// keyIDSize is what a sealed value says first: under which key.
const keyIDSize = 8

// ErrSealed is returned for a value that does not open: it was changed, put in
// place of another, or sealed under a key that is not among the Sealer's.
var ErrSealed = errors.New("a sealed value does not open: it was changed or put in place of another, or the key that sealed it is missing among the functions' keys")

// Sealer encrypts what applications trust the runtime with (AES-256-GCM) and
// authenticates what the runtime gives out and takes back (HMAC-SHA256). The first
// of its keys seals; those after it, of earlier days, only open. It is safe for
// concurrent use and prints as nothing.
type Sealer struct{ keys []sealingKey }

type sealingKey struct {
	id   []byte
	aead cipher.AEAD
	mac  []byte
}

// Format keeps keys out of every print verb of package fmt.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[sealer]")) }

// LogValue keeps keys out of logs.
func (s *Sealer) LogValue() slog.Value { return slog.StringValue("[sealer]") }

// GenerateKey makes a line for ParseKeys: 32 random bytes in base64.
func GenerateKey() string {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read aborts the program instead
	return base64.StdEncoding.EncodeToString(key)
}

// ParseKeys reads the content of a key file or of an environment variable: a key a
// line, each 32 bytes in base64 (RFC 4648, section 4), empty lines apart. The error
// names the line and does not quote it.
func ParseKeys(text []byte) (*Sealer, error) {
	s := &Sealer{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("functions' keys, line %d: not 32 bytes in base64; `openssl rand -base64 32` makes a key", number)
		}
		key, err := newSealingKey(raw)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	if lines.Err() != nil || len(s.keys) == 0 {
		return nil, errors.New("functions' keys: there is none; `openssl rand -base64 32` makes one")
	}
	return s, nil
}

// newSealingKey derives a key for each use, so that none of them is good for
// another, and an identifier that tells nothing of the key.
func newSealingKey(raw []byte) (sealingKey, error) {
	derive := func(label string, n int) []byte {
		out, err := hkdf.Key(sha256.New, raw, nil, "chandler/functions/"+label, n)
		if err != nil {
			panic(err) // only n > 8160 gets here
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

// Seal encrypts value for its place: a name that no other value has, and under
// which alone it opens.
func (s *Sealer) Seal(place string, value []byte) []byte {
	k := s.keys[0]
	return k.aead.Seal(slices.Clone(k.id), nil, value, []byte(place))
}

// Open decrypts what Seal made for place. The error is ErrSealed.
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

// Sign returns the HMAC-SHA256 of message for one use, 32 bytes.
func (s *Sealer) Sign(use, message string) []byte { return s.keys[0].sign(use, message) }

// Verify says whether Sign made mac for this use and message, under any of the keys.
func (s *Sealer) Verify(use, message string, mac []byte) bool {
	return slices.ContainsFunc(s.keys, func(k sealingKey) bool { return hmac.Equal(k.sign(use, message), mac) })
}

func (k sealingKey) sign(use, message string) []byte {
	h := hmac.New(sha256.New, k.mac)
	_, _ = fmt.Fprintf(h, "%d:%s%s", len(use), use, message)
	return h.Sum(nil)
}
