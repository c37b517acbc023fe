package admin

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/chandler-broker/chandler/functions/state"
)

// limitRule bounds one number of state.Limits.
type limitRule struct {
	least, most int64
	unit        int64 // it must be a multiple of this
}

const (
	megabyte = 1 << 20
	day      = 24 * 60 * 60
)

// limitRules are by the names of state.Limits' members in JSON. Nothing is above Apache
// OpenWhisk's defaults, so that what fits here fits there.
func limitRules() map[string]limitRule {
	count := func(least, most int64) limitRule { return limitRule{least, most, 1} }
	return map[string]limitRule{
		"memory_bytes":           {16 * megabyte, 512 * megabyte, megabyte},
		"timeout_ms":             count(100, 5*60*1000),
		"log_bytes":              {megabyte, 10 * megabyte, megabyte},
		"code_bytes":             count(1<<10, 48*megabyte),
		"payload_bytes":          count(1<<10, megabyte),
		"concurrency":            count(1, 1000),
		"invocations_per_minute": count(1, 1<<30),
		"fires_per_minute":       count(1, 1<<30),
		"sequence_length":        count(1, 50),
		"actions":                count(1, 10_000),
		"triggers":               count(0, 10_000),
		"rules":                  count(0, 10_000),
		"packages":               count(0, 10_000),
		"retention_s":            count(60, 365*day),
		"activation_bytes":       count(megabyte, 100<<30),
		"message_attempts":       count(1, 100),
		"dead_letters":           count(0, 1_000_000),
	}
}

var planRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// readLimits requires all limits, and no other members.
func readLimits(raw json.RawMessage) (limits state.Limits, faults []string) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return limits, []string{"limits: must be an object"}
	}
	if json.Unmarshal(members["plan"], &limits.Plan) != nil || !planRule.MatchString(limits.Plan) {
		faults = append(faults, "limits.plan: must be 1 to 64 of A-Z, a-z, 0-9 and ._- and begin with a letter or digit")
	}
	delete(members, "plan")
	for key, rule := range limitRules() {
		if !rule.holds(members[key]) {
			faults = append(faults, "limits."+key+": must be "+rule.String())
		}
		delete(members, key)
	}
	for key := range members {
		faults = append(faults, "limits."+key+": unknown field")
	}
	slices.Sort(faults)
	if len(faults) > 0 {
		return limits, faults
	}
	if err := json.Unmarshal(raw, &limits); err != nil {
		return limits, []string{"limits: " + err.Error()}
	}
	return limits, nil
}

func (l limitRule) holds(raw json.RawMessage) bool {
	var n *int64 // nil for null
	return json.Unmarshal(raw, &n) == nil && n != nil && *n >= l.least && *n <= l.most && *n%l.unit == 0
}

func (l limitRule) String() string {
	if l.unit > 1 {
		return fmt.Sprintf("a multiple of %d from %d to %d", l.unit, l.least, l.most)
	}
	return fmt.Sprintf("a whole number from %d to %d", l.least, l.most)
}
