package broker

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// The broker's own parameters and the service's are never mixed, whatever a tenant sends.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"clone_of": "i", "colour": "red"}`, `{"restore_from": {"instance": "i", "backup": "latest", "before": "2026-03-01T12:00:00Z"}}`,
		`{"restore_from_latest_snapshot_of": "i", "restore_from_latest_snapshot_before": "2026-03-01 12:00:00"}`, `{"restore_from": null, "clone_of": 1}`,
		`{"restore_from": {"instance": "i"}, "restore_from": {"instance": "j"}}`, `{"RESTORE_FROM": {"Instance": "i"}, "clone_Of": "i"}`,
		`{"restore_from": {"instance": "i", "before": "0001-01-01T00:00:00Z"}}`,
	} {
		f.Add(seed)
	}
	plan := &catalog.Plan{Backups: &catalog.PlanBackups{}}
	f.Fuzz(func(t *testing.T, parameters string) {
		rest, own, err := takeSource(plan, json.RawMessage(parameters))
		if err != nil {
			return
		}
		var theirs, ours map[string]json.RawMessage
		if len(rest) > 0 && json.Unmarshal(rest, &theirs) != nil || json.Unmarshal(own, &ours) != nil {
			t.Fatalf("%q becomes %q and %q", parameters, rest, own)
		}
		for _, name := range catalog.ReservedOfProvision() {
			if _, ok := theirs[name]; ok {
				t.Errorf("%s goes to the backend", name)
			}
		}
		for name := range ours {
			if !slices.Contains(catalog.ReservedOfProvision(), name) {
				t.Errorf("%s is kept from the backend", name)
			}
		}
		s, err := parseSource(own)
		switch {
		case err != nil || s == nil:
		case s.clone && (s.backup != "" || s.before != nil), !s.clone && s.backup == "", s.field == "":
			t.Errorf("%q is %+v", parameters, *s)
		case s.instance == "" && s.field != "restore_from.instance": // whose schema requires one
			t.Errorf("%q names no instance: %+v", parameters, *s)
		}
	})
}
