package operator

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chandler-broker/chandler/services"
)

func TestCompare(t *testing.T) {
	state := inventory{
		"ia":   {instanceID: "instance-a", stable: true},
		"ib":   {instanceID: "instance-b", resource: "db_ib", stable: true},
		"busy": {instanceID: "instance-c"},
		"ba":   {instanceID: "instance-a", bindingID: "binding-a", stable: true},
		"gone": {instanceID: "instance-a", bindingID: "binding-b", stable: true},
	}
	for _, c := range []struct {
		name  string
		found []services.Resource
		want  []Difference
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
			want: []Difference{
				{Backend: "pg", Kind: Orphan, Resource: "db_ix", Listing: services.Resource{Instance: "ix", Name: "db_ix"}},
				{Backend: "pg", Kind: Orphan, Resource: "role_bx", Listing: services.Resource{Instance: "ia", Binding: "bx", Name: "role_bx"}},
			},
		},
		{
			name:  "an instance and a binding are missing",
			found: []services.Resource{{Instance: "ia"}, {Binding: "ba"}},
			want: []Difference{
				{Backend: "pg", Kind: Missing, Resource: "db_ib", InstanceID: "instance-b"},
				{Backend: "pg", Kind: Missing, InstanceID: "instance-a", BindingID: "binding-b"},
			},
		},
		{
			name:  "of an instance only the owner's role is left",
			found: []services.Resource{{Instance: "ia"}, {Instance: "ib", Name: "db_ib_owner"}, {Binding: "ba"}, {Binding: "gone"}},
			want:  []Difference{{Backend: "pg", Kind: Incomplete, Resource: "db_ib_owner", InstanceID: "instance-b", Expected: "db_ib"}},
		},
		{
			name: "what is left of something deleted",
			found: []services.Resource{
				{Instance: "ia"}, {Instance: "ib", Name: "db_ib"}, {Binding: "ba"}, {Binding: "gone"},
				{Binding: "set-aside", Name: "revoked_1", Leftover: true}, {Instance: "ix", Name: "db_ix_owner", Leftover: true},
			},
			want: []Difference{
				{Backend: "pg", Kind: Orphan, Resource: "revoked_1", Listing: services.Resource{Binding: "set-aside", Name: "revoked_1", Leftover: true}},
				{Backend: "pg", Kind: Orphan, Resource: "db_ix_owner", Listing: services.Resource{Instance: "ix", Name: "db_ix_owner", Leftover: true}},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := state.compare("pg", c.found)
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
