package credtest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chandler-broker/chandler/credhub"
)

func isReady(s tested) { s.must("Ready", s.Ready(s.Context())) }

func putsAndGets(s tested) {
	path, v := fresh(), value()
	for range 2 { // again, as after a lost answer
		s.put(path, v)
		s.holds(path, v)
	}
}

func putReplaces(s tested) {
	path := fresh()
	for range 3 {
		v := value()
		s.put(path, v)
		s.holds(path, v)
	}
}

func ensureCreatesOnce(s tested) {
	path, first := fresh(), value()
	for _, v := range []json.RawMessage{first, first, value()} {
		s.ensures(path, v, first)
	}
	s.holds(path, first)
}

func ensureReturnsStored(s tested) {
	path, v := fresh(), value()
	s.put(path, v)
	s.ensures(path, value(), v)
}

func deletes(s tested) {
	path := fresh()
	s.delete(path)
	s.put(path, value())
	for range 2 {
		s.delete(path)
		s.isEmpty(path)
	}
}

// deletesEveryVersion also checks that a deleted path can be used again: an old value
// that returned would give a new binding an old binding's password.
func deletesEveryVersion(s tested) {
	path := fresh()
	for range 3 {
		s.put(path, value())
	}
	s.delete(path)
	s.isEmpty(path)
	v := value()
	s.ensures(path, v, v)
	s.holds(path, v)
}

// deletesOneAlone deletes a binding's seed beside its credentials and beside another
// binding.
func deletesOneAlone(s tested) {
	others := map[credhub.Path]json.RawMessage{
		credhub.CredentialsPath("instance", "first"): value(),
		credhub.SeedPath("instance", "second"):       value(),
	}
	for path, v := range others {
		s.put(path, v)
	}
	deleted := credhub.SeedPath("instance", "first")
	s.put(deleted, value())
	s.delete(deleted)
	for path, v := range others {
		s.holds(path, v)
		s.delete(path)
	}
	s.isEmpty(deleted)
}

// decode does not convert numbers.
func decode(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Sprintf("not JSON: %d bytes", len(raw))
	}
	return v
}

func valuesComeBack(s tested) {
	for name, text := range map[string]string{
		"empty":            `{}`,
		"nested":           `{"a":{"b":[1,"two",null,true,{"c":{}}]},"n":null,"e":"","l":[]}`,
		"large integer":    `{"n":9007199254740991,"m":-9007199254740991}`,
		"fraction":         `{"n":0.1}`,
		"unicode":          `{"naïve":"\u0000 \ud83d\ude00 ` + "\u2028" + ` ünïcode"}`,
		"markup":           `{"uri":"postgres://u:p%40s@h/d?a=1&b=<2>'\""}`,
		"names of a store": `{"data":{"data":1},"metadata":{"version":7},"errors":["x"],"options":{"cas":0}}`,
		"64 kB":            `{"ca":"` + strings.Repeat("x", 64<<10) + `"}`,
	} {
		s.Log("the value is", name)
		path, v := fresh(), json.RawMessage(text)
		s.put(path, v)
		s.holds(path, v)
		s.delete(path)
		s.ensures(path, v, v)
	}
}

func refusesOthers(s tested) {
	secret := rand.Text()
	for name, text := range map[string]string{
		"nothing": "", "null": "null", "text": `"` + secret + `"`, "list": `["` + secret + `"]`, "number": "42",
		"number that would be rounded": `{"a":"` + secret + `","n":9007199254740993}`, "endless number": `{"n":1e400}`,
		"half an object": `{"password":"` + secret, "two objects": `{"a":"` + secret + `"}{}`, "no JSON": "{" + secret + "}",
	} {
		path, v := fresh(), json.RawMessage(text)
		_, ensured := s.Ensure(s.Context(), path, v)
		for method, err := range map[string]error{"Put": s.Put(s.Context(), path, v), "Ensure": ensured} {
			if err == nil {
				s.Fatalf("%s accepts %s", method, name)
			}
			if strings.Contains(err.Error(), secret) {
				s.Fatalf("the error of %s for %s contains the value", method, name)
			}
		}
		s.isEmpty(path)
	}
}

// hostile are identifiers that a platform may send (any non-empty string of up
// to 255 characters) and that a path, a URL or a query could confuse with another.
func hostile() []string {
	return []string{
		"a", "A", "a/b", "b", "a%2Fb", "a%252Fb", "a//b", "/a", "a/", "..", "../..", ".", "a/../b", "%2e%2e", "%",
		"a b", "a+b", "a%20b", "a?b", "a#b", "a;b", `a\b`, "a'b", `a"b`, "a'); DROP TABLE sealed_secrets; --", "{a}", "$a", "*", "+",
		"seed", "credentials", "bindings", "a/bindings/b", "sha256=" + strings.Repeat("0", 64),
		"\u00e9", "e\u0301", "\U0001f6a2", "a\u202eb", "a\nb", "a\x00b", "a\tb", "\xff",
		strings.Repeat("x", 255), strings.Repeat("x", 254) + "y", strings.Repeat("\u00e9", 255), strings.Repeat("/", 255),
	}
}

func hostileDoNotCollide(s tested) {
	plain := rand.Text()
	bindings := map[[2]string]bool{} // instance and binding IDs, each pair once
	for _, id := range hostile() {
		for _, ids := range [][2]string{{id, plain}, {plain, id}, {plain + "/" + id, id}, {plain, id + "/" + id}} {
			bindings[ids] = true
		}
	}
	stored := map[credhub.Path]json.RawMessage{}
	for ids := range bindings {
		for _, path := range []credhub.Path{credhub.SeedPath(ids[0], ids[1]), credhub.CredentialsPath(ids[0], ids[1])} {
			stored[path] = value()
			got, err := s.Ensure(s.Context(), path, stored[path])
			s.must(fmt.Sprintf("Ensure for %q", ids), err)
			s.must(fmt.Sprintf("Ensure for %q", ids), equal(stored[path], got))
		}
	}
	for path, v := range stored {
		s.holds(path, v)
		s.delete(path)
	}
}
