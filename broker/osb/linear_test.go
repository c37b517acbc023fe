package osb

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

// Reading a request takes time that grows no faster than it does.
func TestReadingIsLinear(t *testing.T) {
	elements := func(n int, item func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = item(i)
		}
		return strings.Join(parts, ",")
	}
	for name, test := range map[string]struct {
		n    int
		make func(n int) string
	}{
		"members": {50, func(n int) string {
			return elements(n, func(i int) string { return fmt.Sprintf(`"k%d":{"a":%d}`, i, i) })
		}},
		"numbers":       {50, func(n int) string { return `"a":[` + elements(n, func(int) string { return "1e300" }) + `]` }},
		"a long number": {9000, func(n int) string { return `"a":0.1` + strings.Repeat("7", n) }},
		"a long text":   {9000, func(n int) string { return `"a":"` + strings.Repeat(`\u00e9`, n) + `"` }},
		"a long name": {300, func(n int) string {
			return `"` + strings.Repeat("n", n) + `":[` + elements(n, func(int) string { return "{}" }) + `]`
		}},
		"too deep": {9000, func(n int) string { return `"a":` + strings.Repeat("[", n) }},
		"blanks":   {9000, func(n int) string { return `"a":` + strings.Repeat(" ", n) + `1` }},
		"fields that lie": {50, func(n int) string {
			return `"bind_resource":{` + elements(n, func(i int) string { return fmt.Sprintf(`"k%d":1`, i) }) + `,"app_guid":1,"route":2},"service_id":{}`
		}},
	} {
		t.Run(name, func(t *testing.T) {
			linear.Check(t, test.n, func(n int) func() {
				body := []byte("{" + test.make(n) + "}")
				identity := []string{"cloudfoundry " + base64.StdEncoding.EncodeToString(body)}
				return func() {
					if checkObject(body) == nil {
						f := newFields(body)
						f.requiredID("service_id")
						inner, _ := f.within("bind_resource")
						inner.id("app_guid")
						inner.text("route")
						_ = f.err()
					}
					_, _ = originatingIdentity(identity)
				}
			})
		})
	}
}
