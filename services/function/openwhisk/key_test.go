package openwhisk

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

func seed(t *testing.T, b byte) *services.Seed {
	t.Helper()
	s, err := services.NewSeed(bytes.Repeat([]byte{b}, services.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var authRule = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}:[A-Za-z0-9]{64}$`)

// A key is of OpenWhisk's form, the same one each time, another one for another
// seed, and known to the seed.
func TestDeriveKey(t *testing.T) {
	seen := map[string]bool{}
	for i := range byte(100) {
		s := seed(t, i)
		k := deriveKey(s)
		if !authRule.MatchString(k.auth()) {
			t.Errorf("%q", k.auth())
		}
		if again := deriveKey(seed(t, i)); again.auth() != k.auth() {
			t.Error("the same seed made another key")
		}
		if seen[k.key.Reveal()] || seen[k.uuid.String()] {
			t.Error("another seed made the same key")
		}
		seen[k.key.Reveal()], seen[k.uuid.String()] = true, true
		if text := s.Scrub("an error with " + k.auth()); strings.Contains(text, k.key.Reveal()) {
			t.Errorf("not scrubbed: %s", text)
		}
	}
}
