package credtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chandler-broker/chandler/credhub"
)

// decode keeps numbers as they are written.
func decode(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Sprintf("not JSON: %d bytes", len(raw))
	}
	return v
}

func valuesComeBack(ctx context.Context, s credhub.Store) error {
	for name, v := range map[string]string{
		"empty":            `{}`,
		"nested":           `{"a":{"b":[1,"two",null,true,{"c":{}}]},"n":null,"e":"","l":[]}`,
		"large integer":    `{"n":9007199254740991,"m":-9007199254740991}`,
		"fraction":         `{"n":0.1}`,
		"unicode":          `{"naïve":"\u0000 \ud83d\ude00 ` + "\u2028" + ` ünïcode"}`,
		"markup":           `{"uri":"postgres://u:p%40s@h/d?a=1&b=<2>'\""}`,
		"names of a store": `{"data":{"data":1},"metadata":{"version":7},"errors":["x"],"options":{"cas":0}}`,
		"64 kB":            `{"ca":"` + strings.Repeat("x", 64<<10) + `"}`,
	} {
		path := fresh()
		if err := s.Put(ctx, path, json.RawMessage(v)); err != nil {
			return fmt.Errorf("Put of %s: %w", name, err)
		}
		if err := holds(ctx, s, path, json.RawMessage(v)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := s.Delete(ctx, path); err != nil {
			return fmt.Errorf("Delete of %s: %w", name, err)
		}
		got, err := s.Ensure(ctx, path, json.RawMessage(v))
		if err != nil {
			return fmt.Errorf("Ensure of %s: %w", name, err)
		}
		if err := equal("Ensure of "+name, json.RawMessage(v), got); err != nil {
			return err
		}
	}
	return nil
}

func refusesOthers(ctx context.Context, s credhub.Store) error {
	secret := rand.Text()
	for name, v := range map[string]string{
		"nothing": "", "null": "null", "text": `"` + secret + `"`, "list": `["` + secret + `"]`, "number": "42", "number that would be rounded": `{"a":"` + secret + `","n":9007199254740993}`, "endless number": `{"n":1e400}`,
		"half an object": `{"password":"` + secret, "two objects": `{"a":"` + secret + `"}{}`, "no JSON": "{" + secret + "}",
	} {
		path := fresh()
		_, ensured := s.Ensure(ctx, path, json.RawMessage(v))
		for method, err := range map[string]error{"Put": s.Put(ctx, path, json.RawMessage(v)), "Ensure": ensured} {
			if err == nil {
				return fmt.Errorf("%s accepts %s", method, name)
			}
			if strings.Contains(err.Error(), secret) {
				return fmt.Errorf("the error of %s for %s holds the value", method, name)
			}
		}
		if err := holdsNothing(ctx, s, path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// hostile are identifiers that a platform may send (any non-empty string of up
// to 255 characters) and that a path, a URL or a query could take for another.
func hostile() []string {
	return []string{
		"a", "A", "a/b", "b", "a%2Fb", "a%252Fb", "a//b", "/a", "a/", "..", "../..", ".", "a/../b", "%2e%2e", "%",
		"a b", "a+b", "a%20b", "a?b", "a#b", "a;b", `a\b`, "a'b", `a"b`, "a'); DROP TABLE sealed_secrets; --", "{a}", "$a", "*", "+",
		"seed", "credentials", "bindings", "a/bindings/b", "sha256=" + strings.Repeat("0", 64),
		"\u00e9", "e\u0301", "\U0001f6a2", "a\u202eb", "a\nb", "a\x00b", "a\tb", "\xff",
		strings.Repeat("x", 255), strings.Repeat("x", 254) + "y", strings.Repeat("\u00e9", 255), strings.Repeat("/", 255),
	}
}

// hostileBindings are instance and binding identifiers, each pair once.
func hostileBindings() map[[2]string]bool {
	plain := rand.Text()
	bindings := map[[2]string]bool{}
	for _, id := range hostile() {
		bindings[[2]string{id, plain}] = true
		bindings[[2]string{plain, id}] = true
		bindings[[2]string{plain + "/" + id, id}] = true
		bindings[[2]string{plain, id + "/" + id}] = true
	}
	return bindings
}

func hostileDoNotCollide(ctx context.Context, s credhub.Store) error {
	stored := map[credhub.Path]json.RawMessage{}
	for ids := range hostileBindings() {
		for _, path := range []credhub.Path{credhub.SeedPath(ids[0], ids[1]), credhub.CredentialsPath(ids[0], ids[1])} {
			v := value()
			got, err := s.Ensure(ctx, path, v)
			if err != nil {
				return fmt.Errorf("Ensure for %q: %w", ids, err)
			}
			if err := equal(fmt.Sprintf("Ensure for %q", ids), v, got); err != nil {
				return err
			}
			stored[path] = v
		}
	}
	for path, v := range stored {
		if err := holds(ctx, s, path, v); err != nil {
			return err
		}
		if err := s.Delete(ctx, path); err != nil {
			return fmt.Errorf("Delete(%s): %w", path, err)
		}
	}
	return nil
}
