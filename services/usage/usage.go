// Package usage compares what instances use with the limits of their plans, and
// counts the contents of instances whose server does not hold them to a limit.
package usage

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Exceeds says whether used is above a limit; 0 is no limit.
func Exceeds[N services.Size | int](used, limit N) bool { return limit != 0 && used > limit }

// ResumeBelow is where a locked instance may be written to again: a twentieth below
// the limit, so that one at the limit is not locked and unlocked all the time.
func ResumeBelow[N services.Size | int](limit N) N { return limit - limit/20 }

// MayResume says whether a locked instance may be written to again.
func MayResume[N services.Size | int](used, limit N) bool {
	return limit == 0 || used < ResumeBelow(limit)
}

// WritesRefused tells the user of a locked instance how much storage it uses.
func WritesRefused(used, limit services.Size) string {
	return fmt.Sprintf("storage: %s of %s used; writes are refused until less than %s is used", used, limit, ResumeBelow(limit))
}

// NearLimit tells the user of an instance whose file system holds it to the limit
// that it is at the limit; empty if it is not. contents are what to delete.
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

// CheckChange refuses a plan with less storage than is used. An instance that is
// locked but within its plan was locked by an update that failed, and may return to
// the smaller plan: that is the update's undo.
func CheckChange(used, prev, next services.Size, locked bool) error {
	smaller := next != 0 && (prev == 0 || next < prev)
	if !smaller || used <= next || locked && !Exceeds(used, prev) {
		return nil
	}
	return services.Rejected("the plan allows %s and the database uses %s; free space first, or choose a larger plan", next, used)
}
