package services

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// Secret is a string that only Reveal shows: it is redacted in every print verb, in JSON
// and in logs. It decodes from a JSON string, so that a configuration can contain one.
type Secret struct{ value string }

// NewSecret makes a Secret of value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is the empty string.
func (s Secret) IsZero() bool { return s.value == "" }

// Format redacts the secret in every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts the secret in package log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON redacts the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// UnmarshalJSON reads the secret from a JSON string.
func (s *Secret) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &s.value); err != nil {
		return fmt.Errorf("a secret must be a string") // the decoder's error quotes the value
	}
	return nil
}

// SeedSize is the length of a seed in bytes.
const SeedSize = 32

// Seed is the random secret from which one binding's passwords derive. It remembers them,
// so that Scrub can remove them from error texts. It is safe for concurrent use.
type Seed struct {
	key []byte

	mu      sync.Mutex
	derived []string
}

// NewSeed makes a Seed of key, SeedSize bytes.
func NewSeed(key []byte) (*Seed, error) {
	if len(key) != SeedSize {
		return nil, fmt.Errorf("a seed has %d bytes, not %d", SeedSize, len(key))
	}
	return &Seed{key: key}, nil
}

// Format redacts the seed in every verb of package fmt.
func (s *Seed) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts the seed in package log/slog.
func (s *Seed) LogValue() slog.Value { return slog.StringValue(redacted) }

// RandomKey returns SeedSize bytes from the operating system's generator.
func RandomKey() []byte {
	key := make([]byte, SeedSize)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read aborts the program instead
	return key
}

// Bytes derives n bytes from the seed by HKDF-SHA256 (RFC 5869), the same each time for a
// label. One label, one secret.
func (s *Seed) Bytes(label string, n int) []byte {
	out, err := hkdf.Key(sha256.New, s.key, nil, "chandler/"+label, n)
	if err != nil {
		panic(err) // n > 8160
	}
	return out
}

// Password returns a password of 32 characters, [A-Za-z0-9_-], 192 bits,
// derived from the seed for label.
func (s *Seed) Password(label string) Secret {
	p := base64.RawURLEncoding.EncodeToString(s.Bytes(label, 24))
	s.Conceal(p)
	return NewSecret(p)
}

// Conceal makes Scrub remove value as well. A backend calls it for secrets that it makes
// from Bytes in its own form.
func (s *Seed) Conceal(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derived = append(s.derived, value)
}

// Scrub returns text without the secrets that derive from the seed.
func (s *Seed) Scrub(text string) string {
	if s == nil {
		return text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.derived {
		if d != "" {
			text = strings.ReplaceAll(text, d, redacted)
		}
	}
	return text
}
