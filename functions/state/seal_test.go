package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/functions/state"
)

func sealer(t *testing.T, keys ...string) *state.Sealer {
	t.Helper()
	s, err := state.ParseKeys([]byte(strings.Join(keys, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A sealed value opens only unchanged, in its place, and with the key that sealed it.
func TestSeal(t *testing.T) {
	older, newer := state.GenerateKey(), state.GenerateKey()
	before, after, other := sealer(t, older), sealer(t, "", newer, "  ", older), sealer(t, newer)
	value := []byte(`[{"key":"password","value":"hunter2"}]`)
	sealed := before.Seal("actions/n/a", value)
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Error("the value shows")
	}
	if again := before.Seal("actions/n/a", value); bytes.Equal(sealed, again) {
		t.Error("the same twice: no nonce")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, test := range map[string]struct {
		sealer *state.Sealer
		place  string
		sealed []byte
		opens  bool
	}{
		"its key":            {before, "actions/n/a", sealed, true},
		"a key of yesterday": {after, "actions/n/a", sealed, true},
		"another key":        {other, "actions/n/a", sealed, false},
		"another place":      {before, "actions/n/b", sealed, false},
		"changed":            {before, "actions/n/a", changed, false},
		"cut":                {before, "actions/n/a", sealed[:9], false},
		"nothing":            {before, "actions/n/a", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.sealer.Open(test.place, test.sealed)
			if test.opens && (err != nil || !bytes.Equal(got, value)) {
				t.Errorf("%q, %v", got, err)
			}
			if !test.opens && !errors.Is(err, state.ErrSealed) {
				t.Errorf("it opens: %q, %v", got, err)
			}
		})
	}
	if sealed := after.Seal("p", value); func() error { _, err := other.Open("p", sealed); return err }() != nil {
		t.Error("the first key does not seal")
	}
}

func TestSign(t *testing.T) {
	older, newer := state.GenerateKey(), state.GenerateKey()
	mac := sealer(t, older).Sign("token", "message")
	for name, test := range map[string]struct {
		sealer       *state.Sealer
		use, message string
		want         bool
	}{
		"the same":           {sealer(t, older), "token", "message", true},
		"a key of yesterday": {sealer(t, newer, older), "token", "message", true},
		"another key":        {sealer(t, newer), "token", "message", false},
		"another use":        {sealer(t, older), "tok", "enmessage", false},
		"another message":    {sealer(t, older), "token", "massage", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.sealer.Verify(test.use, test.message, mac); got != test.want {
				t.Errorf("verified: %t", got)
			}
		})
	}
}

func TestParseKeysFails(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":   "",
		"no base64": "hunter2!",
		"short":     "aHVudGVyMg==",
		"second":    state.GenerateKey() + "\nhunter2",
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := state.ParseKeys([]byte(text)); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

// A printed sealer reveals nothing.
func TestSealerIsSilent(t *testing.T) {
	s := sealer(t, state.GenerateKey())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, s); got != "[sealer]" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
