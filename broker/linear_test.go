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
					if _, err := object(a); err != nil {
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

func TestSameNumber(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"1", "1.0", true}, {"1", "1e0", true}, {"100", "1E+2", true}, {"0.01", "1e-2", true}, {"-0", "0", true}, {"0e5", "0.00", true},
		{"12.50", "1.25e1", true}, {"0.0012e3", "1.2", true}, {"1e400", "10e399", true}, {"1e99999999999", "1e99999999999", true},
		{"1", "-1", false}, {"1", "10", false}, {"1", "1.01", false}, {"1e400", "1e401", false}, {"0", "1e-400", false}, {"1e99999999999", "10e99999999998", false},
		{"9007199254740993", "9007199254740992", false},
	} {
		if got := sameNumber(test.a, test.b); got != test.same {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}
