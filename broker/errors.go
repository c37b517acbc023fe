package broker

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/broker/loggable"
)

// Kind classifies errors; package osb maps it to HTTP statuses and error codes.
type Kind int

// The kinds of error.
const (
	Internal                Kind = iota // unforeseen: the answer has the request's identity only
	Invalid                             // the request is malformed or violates a schema
	NotFound                            // the resource to fetch, poll or change does not exist
	Conflict                            // the ID is in use
	Gone                                // the resource to delete does not exist
	Concurrency                         // another operation excludes this one
	AsyncRequired                       // the plan takes too long to wait for
	RequiresApp                         // the plan needs a bind to have an application
	MaintenanceInfoConflict             // the catalog does not have the maintenance version
	Unsupported                         // the request is valid, and refused in the present state
	Unavailable                         // a part that the broker needs does not answer
	TimedOut                            // the operation did not end while its client waited
	Failed                              // the operation failed
)

// Error is an error of the broker's methods. Its text is for the user and has no secrets.
type Error struct {
	Kind        Kind
	Description string
	// InstanceUsable and UpdateRepeatable are part of the answer if they are not nil
	// (OSB, "Service Broker Errors"): only after failed updates and deprovisions.
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

// addQuotes records the parameters whose values err's description may contain: backends
// quote what they reject.
func addQuotes(err *error, parameters ...json.RawMessage) {
	if e, ok := errors.AsType[*Error](*err); ok {
		e.quotes = append(e.quotes, parameters...)
	}
}

// Loggable returns the description without the values of the request's parameters, any
// of which may be a secret.
func (e *Error) Loggable() string { return loggable.Text(e.Description, e.quotes...) }

// AsError returns err as an *Error; any other error becomes Internal.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Cause: err}
}
