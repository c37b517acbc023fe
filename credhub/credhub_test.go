package credhub_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/credhub"
)

func TestPaths(t *testing.T) {
	legal := regexp.MustCompile(`^[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*$`)
	hash := "sha256=c14cddc033f64b9dea80ea675cf280a015e672516090a5626781153dc68fea11" // of "a/b"
	for name, c := range map[string]struct{ instance, binding, want string }{
		"UUIDs stay readable": {"0b3f8a1e-5a8d-4f3c-9d7c-000000000001", "B_2", "instances/0b3f8a1e-5a8d-4f3c-9d7c-000000000001/bindings/B_2"},
		"slashes":             {"a/b", "b", "instances/" + hash + "/bindings/b"},
		"the hash of another": {hash, "b", "instances/sha256=63b9a1e54e34ce6bb1f95352fe17573a9ef022b749eb62e76007d269620943fb/bindings/b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := credhub.SeedPath(c.instance, c.binding).String(); got != c.want+"/seed" {
				t.Errorf("seed: %s, want %s", got, c.want)
			}
			if got := credhub.CredentialsPath(c.instance, c.binding).String(); got != c.want+"/credentials" {
				t.Errorf("credentials: %s, want %s", got, c.want)
			}
		})
	}
	for _, id := range []string{"..", ".", "", "a b", "\x00", "%2F", strings.Repeat("x", 255), "naïve"} {
		path := credhub.CredentialsPath(id, id).String()
		if !legal.MatchString(path) || len(path) > 200 || strings.Contains(path, "..") {
			t.Errorf("%q makes %s (%d characters)", id, path, len(path))
		}
	}
}

func TestCheckValue(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		ok    bool
	}{
		"object": {`{"a":1}`, true}, "empty object": {"{}", true}, "white space around": {" \n{\t} ", true},
		"nothing": {"", false}, "white space": {" ", false}, "null": {"null", false}, "list": {"[{}]", false},
		"text": {`"{}"`, false}, "half": {`{"a":`, false}, "two": {"{}{}", false},
		"largest integer": {`{"a":[{"n":9007199254740991}]}`, true}, "smallest integer": {`{"n":-9007199254740991}`, true},
		"larger integer": {`{"a":[{"n":9007199254740992}]}`, false}, "smaller integer": {`{"n":-9007199254740992}`, false},
		"fraction": {`{"n":0.1}`, true}, "large fraction": {`{"n":1.5e300}`, true}, "endless": {`{"n":1e400}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := credhub.CheckValue(json.RawMessage(c.value)); (err == nil) != c.ok {
				t.Errorf("CheckValue: %v, want success: %t", err, c.ok)
			}
		})
	}
}
