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

// Refusals with constant messages.
var (
	errNotFound        = &problem{http.StatusNotFound, "The requested resource does not exist."}
	errConformance     = &problem{http.StatusConflict, "Resource by this name exists but is not in this collection."}
	errExists          = &problem{http.StatusConflict, "resource already exists"}
	errNoCredentials   = &problem{http.StatusUnauthorized, "The resource requires authentication, which was not supplied with the request"}
	errBadCredentials  = &problem{http.StatusUnauthorized, "The supplied authentication is invalid"}
	errOperation       = &problem{http.StatusForbidden, "The supplied authentication is not authorized to access this resource."}
	errOverrides       = &problem{http.StatusBadRequest, "Request defines parameters that are not allowed (e.g., reserved properties)."}
	errOnBinding       = &problem{http.StatusBadRequest, "Operation not permitted on package binding."}
	errEntityName      = &problem{http.StatusBadRequest, "The name of the entity contains illegal characters."}
	errQualifiedName   = &problem{http.StatusBadRequest, "The fully qualified name of the entity must contain at least the namespace and the name of the entity."}
	errComponent       = &problem{http.StatusBadRequest, "Sequence component does not exist."}
	errSequenceLength  = &problem{http.StatusBadRequest, "Too many actions in the sequence."}
	errOverload        = &problem{http.StatusServiceUnavailable, "System is overloaded, try again later."}
	errEnding          = &problem{http.StatusServiceUnavailable, "The runtime is shutting down, try again."}
	errWait            = &problem{http.StatusBadRequest, "Timeout must be number of milliseconds up to 60000."}
	errMethod          = &problem{http.StatusMethodNotAllowed, "HTTP method not allowed for this resource."}
	errNotReady        = &problem{http.StatusAccepted, "Response not yet ready."}
	errProcessing      = &problem{http.StatusBadRequest, "There was an error processing your request."}
	errNoProperty      = &problem{http.StatusNotFound, "Response does not include requested property."}
	errContentType     = &problem{http.StatusBadRequest, "Response type in header did not match generated content type."}
	errUnknownType     = &problem{http.StatusBadRequest, "Response did not specify a known content-type."}
	errBindingTarget   = &problem{http.StatusBadRequest, "Binding references a package that does not exist."}
	errBindingOfOther  = &problem{http.StatusBadRequest, "Cannot bind to another package binding."}
	errBecomeBinding   = &problem{http.StatusConflict, "Resource is a package and cannot be converted into a binding."}
	errRuleParts       = &problem{http.StatusBadRequest, "rule requires a valid trigger and a valid action"}
	errRuleTrigger     = &problem{http.StatusNotFound, "Only rules with existing triggers can be activated"}
	errActivationID    = &problem{http.StatusBadRequest, "The activation id is not valid."}
	errDocsWithCount   = &problem{http.StatusBadRequest, "The parameter 'docs' is not permitted with 'count'."}
	errSequenceEmpty   = &problem{http.StatusBadRequest, "No component specified for the sequence."}
	errSequenceCycle   = &problem{http.StatusBadRequest, "Sequence may not refer to itself."}
	errFeedName        = &problem{http.StatusBadRequest, "Feed name is not valid"}
	errExecUndefined   = &problem{http.StatusBadRequest, "exec undefined"}
	errUnauthenticated = &problem{http.StatusUnauthorized, "The supplied authentication is not authorized to access this web action."}
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
