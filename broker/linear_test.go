package broker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

// JSON of a request is merged and compared in time that grows no faster than it does.
func TestJSONIsLinear(t *testing.T) {
	for name, test := range map[string]struct {
		n    int
		make func(n int) string
	}{
		"members": {300, func(n int) string {
			return `{` + repeated(n, func(i int) string { return fmt.Sprintf(`"k%d":%d`, i, i) }) + `}`
		}},
		"elements":      {200, func(n int) string { return `{"a":[` + repeated(n, func(i int) string { return "1.0" }) + `]}` }},
		"a long number": {9000, func(n int) string { return `{"a":0.` + strings.Repeat("7", n) + `}` }},
		"long numbers": {100, func(n int) string {
			return `{"a":[` + repeated(n, func(int) string { return strings.Repeat("7", 80) + "e99" }) + `]}`
		}},
		"a long name": {9000, func(n int) string {
			return `{"` + strings.Repeat("n", n) + `":[` + repeated(n/2, func(int) string { return "1" }) + `]}`
		}},
	} {
		t.Run(name, func(t *testing.T) {
			linear.Check(t, test.n, func(n int) func() {
				a := json.RawMessage(test.make(n))
				b := json.RawMessage(strings.ReplaceAll(test.make(n), "7}", "8}")) // the last digit differs
				return func() {
					if _, err := merge(a, b); err != nil {
						t.Fatal(err)
					}
					if _, err := object("parameters", a); err != nil {
						t.Fatal(err)
					}
					sameJSON(a, b)
				}
			})
		})
	}
}

func repeated(n int, item func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = item(i)
	}
	return strings.Join(parts, ",")
}

// Answers have no nulls.
func TestEndpointsHavePorts(t *testing.T) {
	all, err := endpoints(json.RawMessage(`[{"host":"db"},{"host":"db","ports":["5432"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(all); err != nil || string(got) != `[{"host":"db","ports":[]},{"host":"db","ports":["5432"]}]` {
		t.Errorf("%s: %v", got, err)
	}
}
