package osb

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/broker"
)

// statuses maps the broker's errors to HTTP and to error codes (OSB, "Service Broker
// Errors"), on which platforms act. A failed create must be a 5xx: nothing else makes
// platforms clean up after it.
var statuses = [...]struct {
	status int
	code   string
}{
	broker.Internal:                {http.StatusInternalServerError, ""},
	broker.Invalid:                 {http.StatusBadRequest, ""},
	broker.NotFound:                {http.StatusNotFound, ""},
	broker.Conflict:                {http.StatusConflict, ""},
	broker.Gone:                    {http.StatusGone, ""},
	broker.Concurrency:             {http.StatusUnprocessableEntity, "ConcurrencyError"},
	broker.AsyncRequired:           {http.StatusUnprocessableEntity, "AsyncRequired"},
	broker.RequiresApp:             {http.StatusUnprocessableEntity, "RequiresApp"},
	broker.MaintenanceInfoConflict: {http.StatusUnprocessableEntity, "MaintenanceInfoConflict"},
	broker.Unsupported:             {http.StatusUnprocessableEntity, ""},
	broker.Unavailable:             {http.StatusServiceUnavailable, ""},
	broker.TimedOut:                {http.StatusGatewayTimeout, ""},
	broker.Failed:                  {http.StatusInternalServerError, ""},
}

// retryUnavailable is the Retry-After if a part of the broker does not answer.
const retryUnavailable = 10 * time.Second

// problem is an answer that is an error (OSB, "Service Broker Errors").
type problem struct {
	status           int
	Code             string `json:"error,omitempty"`
	Description      string `json:"description,omitempty"`
	InstanceUsable   *bool  `json:"instance_usable,omitempty"`
	UpdateRepeatable *bool  `json:"update_repeatable,omitempty"`
}

func (p *problem) Error() string { return p.Description }

// refuse makes the error of a request that does not reach the broker.
func refuse(status int, description string) error {
	return &problem{status: status, Description: description}
}

func invalid(description string) error { return refuse(http.StatusBadRequest, description) }

// refuse answers with an error, and records what the log may say about it.
func (x *exchange) refuse(r *http.Request, err error) {
	p, ok := errors.AsType[*problem](err)
	loggable := ""
	if ok {
		loggable = p.Description // quotes nothing of the request
	} else {
		e := broker.AsError(err)
		p, loggable = problemOf(e, r.Method, x), e.Loggable()
		if e.Kind == broker.Unavailable {
			setRetryAfter(x.Header(), retryUnavailable)
		}
		if p.status >= http.StatusInternalServerError {
			x.cause = cmp.Or(e.Cause, errors.New(loggable))
		}
	}
	if p.status < http.StatusInternalServerError {
		x.refusal = loggable
	}
	_ = x.json(p.status, p) // strings and booleans always encode
}

func problemOf(e *broker.Error, method string, x *exchange) *problem {
	row := statuses[e.Kind]
	p := &problem{status: row.status, Code: row.code, Description: e.Description}
	if e.Kind == broker.Internal {
		p.Description = "the broker failed; its log says why under the request identity " + x.requestID
	}
	// Only these failures leave the instance's state in doubt.
	if update := method == http.MethodPatch; update || method == http.MethodDelete && x.bindingID == "" {
		p.InstanceUsable = e.InstanceUsable
		if update {
			p.UpdateRepeatable = e.UpdateRepeatable
		}
	}
	return p
}
