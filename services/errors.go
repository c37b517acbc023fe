package services

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// RejectedError says that the user asked for something impossible.
type RejectedError struct{ Message string }

func (e *RejectedError) Error() string { return e.Message }

// Rejected builds the error for a fault in the user's input, which the engine never
// retries. The message names the parameter and the rule, and says what to do.
func Rejected(format string, args ...any) error {
	return &RejectedError{Message: fmt.Sprintf(format, args...)}
}

// FixedAtCreation builds the error for an update of a parameter that only a provision sets;
// instead says how to get another value.
func FixedAtCreation(parameter, instead string) error {
	return Rejected("parameters.%s: fixed at creation: leave it out or repeat the value given then; to have another, %s",
		parameter, instead)
}

// IsRejected reports whether Rejected built err, and returns its message.
func IsRejected(err error) (string, bool) {
	if r, ok := errors.AsType[*RejectedError](err); ok {
		return r.Message, true
	}
	return "", false
}

// OutOfCapacityError says that a server's disk is full.
type OutOfCapacityError struct{ error }

// Unwrap returns the argument of OutOfCapacity.
func (e *OutOfCapacityError) Unwrap() error { return e.error }

// OutOfCapacity builds the error for a server whose disk is full. The engine retries it,
// because there may be space later; the user reads that the service has no capacity, the
// operator reads err.
func OutOfCapacity(err error) error { return &OutOfCapacityError{err} }

// IsOutOfCapacity reports whether OutOfCapacity built err.
func IsOutOfCapacity(err error) bool {
	_, ok := errors.AsType[*OutOfCapacityError](err)
	return ok
}

// Advice says what an operator can do about some of a server's errors.
type Advice struct {
	About func(error) bool
	Text  string
	// Full says that the server's disk is full (OutOfCapacity).
	Full bool
}

// Explain adds to an error what the broker was doing, and the first advice about it. It does
// not change an error built by Rejected.
func Explain(doing string, err error, list []Advice) error {
	if _, rejected := IsRejected(err); err == nil || rejected {
		return err
	}
	i := slices.IndexFunc(list, func(a Advice) bool { return a.About(err) })
	if i < 0 {
		return fmt.Errorf("%s: %w", doing, err)
	}
	explained := fmt.Errorf("%s: %s: %w", doing, list[i].Text, err)
	if list[i].Full {
		return OutOfCapacity(explained)
	}
	return explained
}

// completionTime is how much longer than its context a changing call may take.
const completionTime = 3 * time.Second

// RunToCompletion makes a call that changes something on a server. When ctx ends, it gives
// the call a few more seconds: an abandoned call might take effect after the caller has
// undone it. If ctx has ended and the call failed, the error wraps ctx's too.
func RunToCompletion(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(completionTime, cancel) })()
	err := call(longer)
	if err != nil && ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}
