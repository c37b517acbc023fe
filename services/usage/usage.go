// Package usage compares what instances use with their plans' limits, and counts contents.
package usage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Exceeds says whether used is above a limit; 0 is no limit.
func Exceeds[N services.Size | int](used, limit N) bool { return limit != 0 && used > limit }

// ResumeBelow is where a locked instance is unlocked: well below the limit, to avoid flapping.
func ResumeBelow[N services.Size | int](limit N) N { return limit - limit/20 }

// MayResume says whether a locked instance may be written to again.
func MayResume[N services.Size | int](used, limit N) bool {
	return limit == 0 || used < ResumeBelow(limit)
}

// WritesRefused tells the user of a locked instance how much storage it uses.
func WritesRefused(used, limit services.Size) string {
	return fmt.Sprintf("storage: %s of %s used; writes are refused until less than %s is used", used, limit, ResumeBelow(limit))
}

// NearLimit tells the user of an instance with a hard limit that it is at the limit, if it is.
// contents are what to delete.
func NearLimit(used, limit services.Size, contents string) string {
	if MayResume(used, limit) {
		return ""
	}
	return fmt.Sprintf("storage: %s of %s used; what needs more is refused: delete %s, or choose a larger plan", used, limit, contents)
}

// Join joins the notes that are not empty.
func Join(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(note string) bool { return note == "" }), "; ")
}

// CheckChange refuses a plan with less storage than is used. A locked instance within its plan was
// locked by an update that failed: the undo may return it to the smaller plan.
func CheckChange(used, prev, next services.Size, locked bool) error {
	smaller := next != 0 && (prev == 0 || next < prev)
	if !smaller || used <= next || locked && !Exceeds(used, prev) {
		return nil
	}
	return services.Rejected("the plan allows %s and the database uses %s; free space first, or choose a larger plan", next, used)
}
