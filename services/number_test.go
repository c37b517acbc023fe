package services_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

func TestNumberFits(t *testing.T) {
	for number, want := range map[string]bool{
		"0": true, "-0": true, "0.000": true, "0e99999": true, "0.1": true, "-2.5e3": true, "1.5e300": true, "1e308": true,
		"9007199254740991": true, "-9007199254740991": true, "1e16": true, "0." + strings.Repeat("7", 98): true,
		"9007199254740992": false, "-9007199254740992": false, "1e309": false, "1e999999999": false, "-1e-999999999": false, "1e-400": false,
		"0." + strings.Repeat("7", 99): false, "1" + strings.Repeat("0", 200): false,
	} {
		if got := services.NumberFits(json.Number(number)); got != want {
			t.Errorf("%s: got %t", number, got)
		}
		err := services.CheckNumbers("value", json.RawMessage(`{"a": [true, {"b": `+number+`}], "c": "1e999"}`))
		if (err == nil) != want || err != nil && !strings.HasPrefix(err.Error(), "value.a[1].b: ") {
			t.Errorf("%s inside a value: got %v", number, err)
		}
	}
}

func TestSameNumber(t *testing.T) {
	for _, test := range []struct {
		a, b json.Number
		same bool
	}{
		{"1", "1.0", true}, {"1", "1e0", true}, {"100", "1E+2", true}, {"0.01", "1e-2", true}, {"-0", "0", true}, {"0e5", "0.00", true},
		{"12.50", "1.25e1", true}, {"0.0012e3", "1.2", true}, {"1e400", "1e400", true}, {"1e99999999999", "1e99999999999", true},
		{"1", "-1", false}, {"1", "10", false}, {"1", "1.01", false}, {"1e400", "1e401", false}, {"0", "1e-400", false}, {"1e99999999999", "10e99999999998", false},
		{"9007199254740993", "9007199254740992", false}, {"9007199254740993.0", "9007199254740993", true},
		{"9007199254740993.0", "9007199254740992.0", false}, {"0.1", "0.1000000000000000000001", false},
	} {
		if got := services.SameNumber(test.a, test.b); got != test.same {
			t.Errorf("%s and %s: %v", test.a, test.b, got)
		}
	}
}
