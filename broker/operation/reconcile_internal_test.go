package operation

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// One instance's error leaves the others' conditions to be recorded.
func TestConditionParams(t *testing.T) {
	rows := []store.Instance{{ID: "fine"}, {ID: "full"}, {ID: "fails"}, {ID: "fails and full"}, {ID: "not examined"}}
	full := services.Condition{Reason: services.OverQuota, Message: "storage: full"}
	var result services.ReconcileResult
	result.Record("fine", services.Condition{Reason: services.OverQuota}, nil) // no message
	result.Record("full", full, nil)
	result.Record("fails", services.Condition{}, errors.New("it is closed"))
	result.Record("fails and full", full, errors.New("it is locked"))
	for _, c := range []struct {
		name    string
		cut     bool
		ids     []string
		reasons []string
	}{
		{"to the end", false, []string{"fine", "full", "fails", "fails and full"}, []string{"", "over_quota", "", "over_quota"}},
		{"cut off", true, []string{"fine", "full", "fails and full"}, []string{"", "over_quota", "over_quota"}},
	} {
		set, faults := conditionParams(rows, result, c.cut)
		if diff := cmp.Diff(c.ids, set.Ids) + cmp.Diff(c.reasons, set.Reasons); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if err := errors.Join(faults...); err == nil || err.Error() != "it is closed\nit is locked" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
