package broker

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/broker/loggable"
)

// Kind says what went wrong in the broker's own terms; osb has the one table
// from kind to HTTP status and error code.
type Kind int

// The kinds of error.
const (
	// Internal is what nobody foresaw: the answer tells the request's
	// identity and nothing else.
	Internal Kind = iota
	// Invalid is a request that cannot be understood or breaks a schema.
	Invalid
	// NotFound is a resource that cannot be fetched, polled or changed.
	NotFound
	// Conflict is an ID that is taken by something else.
	Conflict
	// Gone is a resource to delete that does not exist.
	Gone
	// Concurrency is an operation that another one excludes.
	Concurrency
	// AsyncRequired is a plan that cannot be waited for.
	AsyncRequired
	// RequiresApp is a bind without an application where the plan needs one.
	RequiresApp
	// MaintenanceInfoConflict is a maintenance version that the catalog has
	// not.
	MaintenanceInfoConflict
	// Unsupported is a request that is understood and will never be granted
	// as things are.
	Unsupported
	// Unavailable is a part the broker cannot do without that does not answer.
	Unavailable
	// TimedOut is an operation that did not end while its client waited.
	TimedOut
	// Failed is an operation that was tried and failed.
	Failed
)

// Error is what the broker's methods return. Its text is for the user: it says
// which field, which rule and what to do, and never a secret.
type Error struct {
	Kind        Kind
	Description string
	// InstanceUsable and UpdateRepeatable are told where they are not nil
	// (OSB, "Service Broker Errors"): only for failed updates and
	// deprovisions.
	InstanceUsable, UpdateRepeatable *bool
	// Cause is for the log.
	Cause error

	quotes []json.RawMessage // whose values Loggable masks
}

func (e *Error) Error() string { return e.Description }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

func fail(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Description: fmt.Sprintf(format, args...)}
}

func internal(doing string, cause error) *Error {
	return &Error{Kind: Internal, Cause: fmt.Errorf("%s: %w", doing, cause)}
}

// addQuotes notes the parameters whose values err's description may hold: a backend
// quotes what it refuses.
func addQuotes(err *error, parameters ...json.RawMessage) {
	if e, ok := errors.AsType[*Error](*err); ok {
		e.quotes = append(e.quotes, parameters...)
	}
}

// Loggable is the description without the values of the request's parameters, any
// of which may be a secret.
func (e *Error) Loggable() string { return loggable.Text(e.Description, e.quotes...) }

// AsError returns err as an *Error; any other error becomes Internal.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Cause: err}
}
