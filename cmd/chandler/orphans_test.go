package main

import (
	"strings"
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
		resources: map[string]string{"ib": "db_ib"},
	}
	for _, c := range []struct {
		name  string
		found []services.Resource
		want  []orphan
	}{
		{
			name: "all is well",
			found: []services.Resource{
				{Instance: "ia"}, {Instance: "ib", Name: "db_ib"}, {Instance: "busy"}, {Instance: "ia", Binding: "ba"}, {Binding: "gone"},
			},
		},
		{
			name:  "what is being made need not be there",
			found: []services.Resource{{Instance: "ia"}, {Instance: "ib", Name: "db_ib"}, {Binding: "ba"}, {Binding: "gone"}},
		},
		{
			name: "an instance and a binding nobody knows",
			found: []services.Resource{
				{Instance: "ia"}, {Instance: "ib", Name: "db_ib"}, {Binding: "ba"}, {Binding: "gone"},
				{Instance: "ix", Name: "db_ix"}, {Instance: "ia", Binding: "bx", Name: "role_bx"},
			},
			want: []orphan{
				{Backend: "pg", Kind: "orphan", Resource: "db_ix", Advice: "chandler instances adopt NEW-ID --resource db_ix"},
				{Backend: "pg", Kind: "orphan", Resource: "role_bx", Advice: "--remove revokes it"},
			},
		},
		{
			name:  "an instance and a binding are missing",
			found: []services.Resource{{Instance: "ia"}, {Binding: "ba"}},
			want: []orphan{
				{Backend: "pg", Kind: "missing", Resource: "db_ib", InstanceID: "instance-b", Advice: "chandler instances forget instance-b --force"},
				{Backend: "pg", Kind: "missing", InstanceID: "instance-a", BindingID: "binding-b", Advice: "chandler bindings forget binding-b --force"},
			},
		},
		{
			name:  "of an instance only the owner's role is left",
			found: []services.Resource{{Instance: "ia"}, {Instance: "ib", Name: "db_ib_owner"}, {Binding: "ba"}, {Binding: "gone"}},
			want:  []orphan{{Backend: "pg", Kind: "incomplete", Resource: "db_ib_owner", InstanceID: "instance-b", Advice: "db_ib is gone"}},
		},
		{
			name: "what is left of something deleted",
			found: []services.Resource{
				{Instance: "ia"}, {Instance: "ib", Name: "db_ib"}, {Binding: "ba"}, {Binding: "gone"},
				{Binding: "set-aside", Name: "revoked_1", Leftover: true}, {Instance: "ix", Name: "db_ix_owner", Leftover: true},
			},
			want: []orphan{
				{Backend: "pg", Kind: "orphan", Resource: "revoked_1", Advice: "without access to anything: --remove deletes it"},
				{Backend: "pg", Kind: "orphan", Resource: "db_ix_owner", Advice: "without access to anything: --remove deletes it"},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := state.compare("pg", c.found)
			says := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Advice" },
				cmp.Comparer(func(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) }))
			if diff := cmp.Diff(c.want, got, says, cmpopts.IgnoreUnexported(orphan{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
