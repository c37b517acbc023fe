package services

import "testing"

// A fault of a parameter has the form of a schema's.
func TestFaultsOfParameters(t *testing.T) {
	for text, want := range map[string]string{
		"zone: must be a name":                    "parameters.zone: must be a name",
		"zone: is bad\nrecords[3].ttl: is bad":    "parameters.zone: is bad\nparameters.records[3].ttl: is bad",
		"must be an object, not an array":         "parameters: must be an object, not an array",
		"not valid JSON":                          "parameters: not valid JSON",
		"the name at position 2: must be shorter": "parameters: the name at position 2: must be shorter",
	} {
		if got := inParameters(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
