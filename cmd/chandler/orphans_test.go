package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chandler-broker/chandler/services"
)

func TestCompare(t *testing.T) {
	state := &knowledge{
		instances: map[string]string{"ia": "instance-a", "ib": "instance-b", "busy": "instance-c"},
		bindings:  map[string][2]string{"ba": {"instance-a", "binding-a"}, "gone": {"instance-a", "binding-b"}},
		settled:   map[string]bool{"ia": true, "ib": true, "ba": true, "gone": true},
	}
	for _, c := range []struct {
		name  string
		found []services.Found
		want  []orphan
	}{
		{
			name: "all is well",
			found: []services.Found{
				{Instance: "ia"}, {Instance: "ib"}, {Instance: "busy"}, {Instance: "ia", Binding: "ba"}, {Binding: "gone"},
			},
		},
		{
			name:  "what is being made need not be there",
			found: []services.Found{{Instance: "ia"}, {Instance: "ib"}, {Binding: "ba"}, {Binding: "gone"}},
		},
		{
			name: "an instance and a binding nobody knows",
			found: []services.Found{
				{Instance: "ia"}, {Instance: "ib"}, {Binding: "ba"}, {Binding: "gone"},
				{Instance: "ix", Resource: "db_ix"}, {Instance: "ia", Binding: "bx", Resource: "role_bx"},
			},
			want: []orphan{{Backend: "pg", Kind: "orphan", Resource: "db_ix"}, {Backend: "pg", Kind: "orphan", Resource: "role_bx"}},
		},
		{
			name:  "an instance and a binding are missing",
			found: []services.Found{{Instance: "ia"}, {Binding: "ba"}},
			want: []orphan{
				{Backend: "pg", Kind: "missing", InstanceID: "instance-b"},
				{Backend: "pg", Kind: "missing", InstanceID: "instance-a", BindingID: "binding-b"},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := state.compare("pg", c.found)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(orphan{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
