package postgres

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name, plan string
		want       Plan
		fault      string
	}{
		{"defaults", `{}`, Plan{Connections: 20, Locks: 5000}, ""},
		{"all", `{"connections": 5, "connections_per_binding": 2, "storage": "1GB", "temp_file_limit": "512MB", "locks": 900,
			"statement_timeout": "1m30s", "extensions": ["citext", "uuid-ossp"], "spares": 3}`,
			Plan{5, 2, services.Gigabyte, 512 * services.Megabyte, 900, services.Duration(90 * time.Second), []string{"citext", "uuid-ossp"}, 3}, ""},
		{"kilobytes", `{"temp_file_limit": "2048kB"}`, Plan{Connections: 20, Locks: 5000, TempFileLimit: 2 * services.Megabyte}, ""},
		{"no connections", `{"connections": 0}`, Plan{}, "connections: "},
		{"more per binding than there are", `{"connections": 5, "connections_per_binding": 6}`, Plan{}, "connections_per_binding: "},
		{"a size without unit", `{"storage": "1000"}`, Plan{}, "storage: "},
		{"a size with another unit", `{"storage": "1GiB"}`, Plan{}, "storage: "},
		{"a size in lower case", `{"storage": "1gb"}`, Plan{}, "storage: "},
		{"a size with a blank", `{"storage": "1 GB"}`, Plan{}, "storage: "},
		{"a size with a fraction", `{"storage": "1.5GB"}`, Plan{}, "storage: "},
		{"a size of nothing", `{"storage": "0GB"}`, Plan{}, "storage: "},
		{"a negative size", `{"storage": "-1GB"}`, Plan{}, "storage: "},
		{"a size as number", `{"storage": 1000000000}`, Plan{}, "storage: "},
		{"a size beyond numbers", `{"storage": "9999999TB"}`, Plan{}, "storage: "},
		{"too little storage", `{"storage": "8MB"}`, Plan{}, "storage: "},
		{"too little for temporary files", `{"temp_file_limit": "1kB"}`, Plan{}, "temp_file_limit: "},
		{"too few locks", `{"locks": 99}`, Plan{}, "locks: "},
		{"too many locks", `{"locks": 1000001}`, Plan{}, "locks: "},
		{"a time without unit", `{"statement_timeout": "30"}`, Plan{}, "statement_timeout: "},
		{"a time as number", `{"statement_timeout": 30}`, Plan{}, "statement_timeout: "},
		{"microseconds", `{"statement_timeout": "10us"}`, Plan{}, "statement_timeout: "},
		{"a negative time", `{"statement_timeout": "-1s"}`, Plan{}, "statement_timeout: "},
		{"two days", `{"statement_timeout": "48h"}`, Plan{}, "statement_timeout: "},
		{"an invalid extension", `{"extensions": ["a b"]}`, Plan{}, "extensions: "},
		{"an extension twice", `{"extensions": ["citext", "citext"]}`, Plan{}, "extensions: "},
		{"too many spares", `{"spares": 101}`, Plan{}, "spares: "},
		{"an unknown key", `{"storag": "1GB"}`, Plan{}, "storag"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := services.Decode[Plan](json.RawMessage(test.plan))
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("%v, want %q", err, test.fault)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// The schema names exactly the character sets that the backend knows.
func TestCharacterSetsAreTheSchemas(t *testing.T) {
	var schema struct {
		Properties struct {
			CharacterSet struct{ Enum []string } `json:"character_set"`
		}
	}
	if err := json.Unmarshal(Definition().Schemas.InstanceCreate, &schema); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(characterSets(), slices.Sorted(slices.Values(schema.Properties.CharacterSet.Enum))); diff != "" {
		t.Errorf("(-code +schema):\n%s", diff)
	}
}
