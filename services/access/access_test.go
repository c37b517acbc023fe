package access_test

import (
	"encoding/json"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

func TestParams(t *testing.T) {
	tests := []struct {
		name, text string
		role       access.Role
		fault      string
	}{
		{"nothing", ``, access.ReadWrite, ""},
		{"read_only", `{"role": "read_only"}`, access.ReadOnly, ""},
		{"read_write", `{"role": "read_write"}`, access.ReadWrite, ""},
		{"unknown", `{"role": "owner"}`, "", `role: must be "read_write" or "read_only"`},
		{"empty", `{"role": ""}`, "", `role: must be "read_write" or "read_only"`},
		{"no text", `{"role": 1}`, "", `role: must be a string, not a number`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := services.Decode[access.Params](json.RawMessage(test.text))
			if err != nil && err.Error() != test.fault || err == nil && test.fault != "" {
				t.Fatalf("error %v, want %q", err, test.fault)
			}
			if err == nil && p.Role != test.role {
				t.Errorf("role %q", p.Role)
			}
		})
	}
}
