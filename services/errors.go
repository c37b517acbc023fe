package services

import (
	"errors"
	"fmt"
	"time"
)

// NotYetError says that work goes on at the server.
type NotYetError struct {
	// After is when to call again.
	After time.Duration
	// Note is shown to the user as the operation's description.
	Note string
}

func (e *NotYetError) Error() string { return e.Note }

// NotYet makes the engine call again after the given time without counting an
// attempt; note is shown to the user while the operation is in progress.
func NotYet(after time.Duration, note string) error { return &NotYetError{After: after, Note: note} }

// RejectedError says that the user asked for something that cannot be.
type RejectedError struct{ Message string }

func (e *RejectedError) Error() string { return e.Message }

// Rejected builds the error for a fault in the user's input. It is never
// retried. The message names the parameter and the rule and says what to do.
func Rejected(format string, args ...any) error {
	return &RejectedError{Message: fmt.Sprintf(format, args...)}
}

// FixedAtCreation builds the error for an update that changes a parameter which
// only a provision sets; instead says how to get the other value nevertheless.
func FixedAtCreation(parameter, instead string) error {
	return Rejected("parameters.%s: fixed at creation: leave it out or repeat the value given then; to have another, %s",
		parameter, instead)
}

// IsRejected says whether err was built by Rejected, and returns its message.
func IsRejected(err error) (string, bool) {
	if r, ok := errors.AsType[*RejectedError](err); ok {
		return r.Message, true
	}
	return "", false
}

// OutOfCapacityError says that a server has no room for what it was asked to do.
type OutOfCapacityError struct{ err error }

func (e *OutOfCapacityError) Error() string { return e.err.Error() }

// Unwrap returns what OutOfCapacity was given.
func (e *OutOfCapacityError) Unwrap() error { return e.err }

// OutOfCapacity builds the error for a server whose disk is full. It is retried as
// any other, since there may be room again; the user is told that the service
// has none, the operator what err says.
func OutOfCapacity(err error) error { return &OutOfCapacityError{err} }

// IsOutOfCapacity says whether err was built by OutOfCapacity.
func IsOutOfCapacity(err error) bool {
	_, ok := errors.AsType[*OutOfCapacityError](err)
	return ok
}
