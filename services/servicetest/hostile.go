package servicetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// hostileIDs are IDs that a platform may send. They must not break anything, and must not
// be confused with each other.
func hostileIDs() []string {
	return []string{
		"a/b", "a%2Fb", "../../etc/passwd", "..", ".", "/", "%", "%00",
		`"; DROP DATABASE postgres; --`, `' OR '1'='1`, "`rm -rf /`", "$(reboot)", `\`, `\'`, `$$`,
		"a", "A", "a ", " a", "a.", "a*", "a>", "#", "?", "&x=1", "a\tb", "a\nb",
		"äöü", "a\u0308", "ä", "日本語", "🚢", "\u202eabc", "\u0000", "null", "-1", "--help",
		strings.Repeat("x", 254) + "y", strings.Repeat("x", 254) + "z", strings.Repeat("日", 255),
	}
}

// chosenIDs are those of the hostile IDs that the backend's speed allows.
func (h *harness) chosenIDs() []string {
	all := hostileIDs()
	switch {
	case h.short():
		// The last two differ only at the end.
		return []string{"../../etc/passwd", `"; DROP DATABASE postgres; --`, strings.Repeat("x", 254) + "y", strings.Repeat("x", 254) + "z"}
	case h.Slow:
		return append(all[:12:12], all[len(all)-3:]...)
	case h.Local:
		// Verbs of such a backend take a second, and its programs only get names that derive
		// from the ID.
		return all[:12]
	}
	return all
}

// testHostileIDs creates an instance and a binding for each hostile ID, all at the same
// time, each with its own data.
func testHostileIDs(t *testing.T, h *harness) {
	ids := h.chosenIDs()
	own := freshID(t) // the server may have others' instances under these
	resources, credentials := make([]*resource, len(ids)), make([]services.Credentials, len(ids))
	for i, id := range ids {
		resources[i] = h.instance(t, id, h.Plan, h.Create[0])
	}
	h.each(t, "create", ids, func(t *testing.T, i int) {
		succeeds(t, "provision", h.provision(t, resources[i]))
		credentials[i] = h.mustBind(t, resources[i], resources[i].binding(t, ids[i], h.Bind[0]))
		h.writes(t, h.dialled(t, credentials[i]), "own", own+fmt.Sprint(i))
	})
	if t.Failed() {
		return
	}
	h.each(t, "use and delete", ids, func(t *testing.T, i int) {
		h.reads(t, h.dialled(t, credentials[i]), "own", own+fmt.Sprint(i))
		h.expectListed(t, resources[i], resources[i].bindings...)
		succeeds(t, "unbind", h.unbind(t, resources[i], resources[i].bindings[0]))
		succeeds(t, "deprovision", h.deprovision(t, resources[i]))
		h.nothingLeft(t, resources[i])
	})
}

// each runs a subtest for each value: side by side if the backend is slow.
func (h *harness) each(t *testing.T, what string, values []string, test func(t *testing.T, i int)) {
	t.Run(what, func(t *testing.T) {
		for i, value := range values {
			t.Run(name(i, value), func(t *testing.T) {
				if h.Slow {
					t.Parallel()
				}
				test(t, i)
			})
		}
	})
}

// hostileValues replace every string of valid parameters.
func hostileValues() []string {
	return []string{
		"", "'", `"`, `\`, ";", "--", "/*", "$$", "../..", "%s%n", "\u0000", "\n", "🚢", "{{.}}", "${HOME}",
		`'; DROP DATABASE postgres; --`, `"; DROP ROLE postgres; --`, "x' OR 'x'='x", strings.Repeat("a", 64), strings.Repeat("x", 10000),
	}
}

// chosenValues are those of the hostile values that the backend's speed allows.
func (h *harness) chosenValues() []string {
	if h.short() {
		return []string{"\u0000", "../..", "🚢", `"; DROP ROLE postgres; --`, strings.Repeat("x", 10000)}
	}
	return hostileValues()
}

// testHostileParameters provisions and binds with hostile parameters that pass the checks.
// Each call must succeed, or return an error for the user.
func testHostileParameters(t *testing.T, h *harness) {
	for i, params := range h.Create {
		h.eachMutation(t, h.Slow, fmt.Sprintf("create %d", i), params, func(t *testing.T, mutated json.RawMessage) {
			id := freshID(t)
			if h.driver.CheckInstance(h.driver.Instance(id, h.Plan, mutated)) != nil {
				return
			}
			r := h.instance(t, id, h.Plan, mutated)
			rejectedAtMost(t, mutated, h.provision(t, r))
			succeeds(t, "deprovision", h.deprovision(t, r))
			h.nothingLeft(t, r)
		})
	}
	r := h.provisioned(t)
	for i, params := range slices.Concat(h.Bind, h.readOnly()) {
		h.eachMutation(t, false, fmt.Sprintf("bind %d", i), params, func(t *testing.T, mutated json.RawMessage) {
			if h.driver.CheckBinding(mutated) != nil {
				return
			}
			b := r.binding(t, freshID(t), mutated)
			_, err := h.bind(t, r, b)
			rejectedAtMost(t, mutated, err)
			succeeds(t, "unbind", h.unbind(t, r, b))
		})
	}
	h.expectListed(t, r)
}

// rejectedAtMost fails t if there is an error that is not the user's.
func rejectedAtMost(t *testing.T, params json.RawMessage, err error) {
	t.Helper()
	if _, rejected := services.IsRejected(err); err != nil && !rejected {
		t.Errorf("%.200s: neither succeeded nor was rejected: %v", params, err)
	}
}

// eachMutation runs a subtest for each string of params replaced by each hostile value.
func (h *harness) eachMutation(t *testing.T, parallel bool, kind string, params json.RawMessage, test func(*testing.T, json.RawMessage)) {
	t.Helper()
	var document any
	succeeds(t, "decode the parameters", json.Unmarshal(params, &document))
	mutations := map[string]func(string) any{}
	collect(document, "", func(v any) any { return v }, mutations)
	for place, mutate := range mutations {
		for i, value := range h.chosenValues() {
			t.Run(kind+" "+place+" "+name(i, value), func(t *testing.T) {
				if parallel {
					t.Parallel()
				}
				mutated, err := json.Marshal(mutate(value))
				succeeds(t, "encode the parameters", err)
				test(t, mutated)
			})
		}
	}
}

// collect finds the strings in value; whole rebuilds the document around it.
func collect(value any, place string, whole func(any) any, found map[string]func(string) any) {
	switch v := value.(type) {
	case string:
		found[place] = func(s string) any { return whole(s) }
	case []any:
		for i := range v {
			collect(v[i], fmt.Sprintf("%s[%d]", place, i), func(element any) any {
				list := slices.Clone(v)
				list[i] = element
				return whole(list)
			}, found)
		}
	case map[string]any:
		for key := range v {
			collect(v[key], place+"."+key, func(member any) any {
				object := maps.Clone(v)
				object[key] = member
				return whole(object)
			}, found)
		}
	}
}

// testServerAway checks a backend whose server does not respond: it must open, report the
// fault, and not report it as the user's error.
func testServerAway(t *testing.T, h *harness) {
	proxy := NewProxy(t, h.Address)
	proxy.Stop()
	away := newHarness(t, h.Suite, proxy.Address())
	r := &resource{raw: h.driver.Instance(freshID(t), h.Plan, h.Create[0])}
	b := r.binding(t, freshID(t), h.Bind[0])
	for _, v := range away.verbs(targets{r.raw, r.raw, r.raw, b, b}) {
		t.Run(v.name, func(t *testing.T) {
			if v.name == "update" {
				t.Skip("an update of what no server enforces succeeds")
			}
			err := away.callOnce(t, t.Context(), v.call)
			if err == nil {
				t.Fatal("succeeded without the server")
			}
			notBlamed(t, v.name, err)
		})
	}
	succeeds(t, "Ready, while the server is available", h.driver.Ready(t.Context()))
}
