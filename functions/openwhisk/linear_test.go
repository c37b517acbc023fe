package openwhisk_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

// list is what item makes of 0 to n-1, with commas between.
func list(n int, item func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = item(i)
	}
	return strings.Join(parts, ",")
}

// The cost of a request is linear in its size, whether or not it succeeds.
func TestRequestsAreLinear(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	c.action("a", "echo", `"annotations":[{"key":"web-export","value":true}]`)
	c.must(200, "PUT", "packages/p", "{}")
	c.must(200, "PUT", "triggers/t", "{}")
	c.must(200, "PUT", "rules/r", `{"trigger":"/_/t","action":"/_/a"}`)
	keys := func(n int) string {
		return "[" + list(n, func(i int) string { return fmt.Sprintf(`{"key":"k%d","value":%d}`, i, i) }) + "]"
	}
	entity := func(n int) string { return `{"parameters":` + keys(n) + `,"annotations":` + keys(n/10) + `}` }
	members := func(n int) string {
		return "{" + list(n, func(i int) string { return fmt.Sprintf(`"k%d":%d`, i, i) }) + "}"
	}
	query := func(n int) string { return strings.Repeat("a=b&", n) }
	for name, test := range map[string]struct {
		n            int
		method, path string
		body         func(n int) string
	}{
		"parameters of an action": {30, "PUT", "actions/a?overwrite=true", entity},
		"too many of them":        {60, "PUT", "actions/a?overwrite=true", entity},
		"parameters of a package": {30, "PUT", "packages/p?overwrite=true", entity},
		"parameters of a trigger": {30, "PUT", "triggers/t?overwrite=true", entity},
		"annotations of a rule":   {30, "PUT", "rules/r?overwrite=true", entity},
		"annotations to delete":   {60, "PUT", "actions/a?overwrite=true", func(n int) string { return `{"delAnnotations":[` + list(n, func(i int) string { return `"x"` }) + "]}" }},
		"a sequence": {30, "PUT", "actions/s?overwrite=true", func(n int) string {
			return `{"exec":{"kind":"sequence","components":[` + list(n, func(int) string { return `"/_/a"` }) + `]}}`
		}},
		"an invocation":              {60, "POST", "actions/a?blocking=true", members},
		"a fire":                     {60, "POST", "triggers/t", members},
		"a rule's status":            {60, "POST", "rules/r", members},
		"a web action":               {60, "POST", "web", members},
		"the query of an invocation": {60, "POST", "actions/a?", nil},
		"the query of a list":        {60, "GET", "activations?limit=1&", nil},
		"a far page":                 {1, "GET", "actions?skip=1", func(n int) string { return strings.Repeat("0", 4*n) }},
	} {
		t.Run(name, func(t *testing.T) {
			linear.Check(t, test.n, func(n int) func() {
				path, body := "/api/v1/namespaces/_/"+test.path, ""
				switch {
				case test.path == "web":
					path, body = "/api/v1/web/ns/default/a.json", test.body(n)
				case test.method == "GET" && test.body != nil:
					path += test.body(n)
				case test.body == nil:
					path += query(n)
				default:
					body = test.body(n)
				}
				return func() {
					if got := c.call(test.method, path, body); got.status >= http.StatusInternalServerError {
						t.Fatalf("%d %s", got.status, got.body)
					}
				}
			})
		})
	}
}
