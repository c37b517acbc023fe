package main

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/services"
)

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		name string
		d    operator.Difference
		want string
	}{
		{"orphan", operator.Difference{Kind: operator.Orphan, Resource: "db_ix"}, "chandler instances adopt NEW-ID --resource db_ix"},
		{"orphaned binding", operator.Difference{Kind: operator.Orphan, Listing: services.Resource{Binding: "bx"}}, "--remove revokes it"},
		{"leftover", operator.Difference{Kind: operator.Orphan, Listing: services.Resource{Binding: "bx", Leftover: true}}, "without access to anything: --remove deletes it"},
		{"missing instance", operator.Difference{Kind: operator.Missing, InstanceID: "instance-b"}, "chandler instances forget instance-b --force"},
		{"missing binding", operator.Difference{Kind: operator.Missing, InstanceID: "instance-a", BindingID: "binding-b"}, "chandler bindings forget binding-b --force"},
		{"incomplete", operator.Difference{Kind: operator.Incomplete, InstanceID: "instance-b", Expected: "db_ib"}, "db_ib is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := advice(c.d); !strings.Contains(got, c.want) {
				t.Errorf("%q does not say %q", got, c.want)
			}
		})
	}
}
