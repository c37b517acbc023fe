package openwhisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// problem is a refusal. Its message is for the caller, in OpenWhisk's words if it has some.
type problem struct {
	status  int
	message string
}

func (p *problem) Error() string { return p.message }

func refuse(status int, format string, args ...any) error {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// Refusals in more than one place.
var (
	errNotFound       = &problem{http.StatusNotFound, "The requested resource does not exist."}
	errNoCredentials  = &problem{http.StatusUnauthorized, "The resource requires authentication, which was not supplied with the request"}
	errBadCredentials = &problem{http.StatusUnauthorized, "The supplied authentication is invalid"}
	errOverrides      = &problem{http.StatusBadRequest, "Request defines parameters that are not allowed (e.g., reserved properties)."}
	errEntityName     = &problem{http.StatusBadRequest, "The name of the entity contains illegal characters."}
	errQualifiedName  = &problem{http.StatusBadRequest, "The fully qualified name of the entity must contain at least the namespace and the name of the entity."}
	errComponent      = &problem{http.StatusBadRequest, "Sequence component does not exist."}
	errSequenceLength = &problem{http.StatusBadRequest, "Too many actions in the sequence."}
	errOverload       = &problem{http.StatusServiceUnavailable, "System is overloaded, try again later."}
	errEnding         = &problem{http.StatusServiceUnavailable, "The runtime is shutting down, try again."}
	errMethod         = &problem{http.StatusMethodNotAllowed, "HTTP method not allowed for this resource."}
	errNoProperty     = &problem{http.StatusNotFound, "Response does not include requested property."}
	errContentType    = &problem{http.StatusBadRequest, "Response type in header did not match generated content type."}
	errSequenceCycle  = &problem{http.StatusBadRequest, "Sequence may not refer to itself."}
)

func forbidden(namespace, resource string) error {
	return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s/%s'.", namespace, resource)
}

func malformed(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "The request content was malformed:\n"+format, args...)
}

func tooLarge(what string, is, allowed int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "%s larger than allowed: %d > %d bytes.", what, is, allowed)
}

// refusedWith says whether err is a refusal with this status.
func refusedWith(err error, status int) bool {
	p, ok := errors.AsType[*problem](err)
	return ok && p.status == status
}

// verdict converts an error to the answer for the caller: 503 if the database or the
// workers are unavailable, and for an unknown error a 500 that reveals nothing.
func verdict(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("Request larger than allowed: more than %d bytes.", large.Limit)}
	}
	if state.Unavailable(err) || errors.Is(err, sandbox.ErrUnavailable) || errors.Is(err, sandbox.ErrClosed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &problem{http.StatusServiceUnavailable, "The server is currently unavailable (because it is overloaded or down for maintenance)."}
	}
	return &problem{http.StatusInternalServerError, "There was an internal server error."}
}
