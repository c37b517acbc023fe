package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/chandler-broker/chandler/services/httpapi"
)

// errForeign says that an HTTP server answers that is not RabbitMQ.
var errForeign = errors.New("the reply did not come from RabbitMQ's management API")

// refusal is an error with which the API answered.
type refusal struct {
	status int
	kind   string
	reason string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers %d %s: %s", r.status, r.kind, r.reason)
}

// refused reads an error's body. Reasons are a string or a list.
func refused(status int, body []byte) error {
	var answer struct {
		Error  string          `json:"error"`
		Reason json.RawMessage `json:"reason"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return &refusal{status: status, kind: "without a reason", reason: http.StatusText(status)}
	}
	var text string
	if json.Unmarshal(answer.Reason, &text) != nil {
		text = string(answer.Reason)
	}
	return &refusal{status: status, kind: answer.Error, reason: text}
}

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the operator knows the address
	}
	answer, answered := errors.AsType[*refusal](err)
	_, away := errors.AsType[*httpapi.Outage](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: the server did not answer in time: %w", doing, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case away:
		return fmt.Errorf("%s: the server is away or closed the connection: %w", doing, err)
	case !answered:
		return fmt.Errorf("%s: %w; let the url name the management plugin's port, 15672 unless it was changed", doing, err)
	case answer.status == http.StatusUnauthorized:
		return fmt.Errorf("%s: the server does not accept the url's user and password, or the user lacks the tag administrator: %w", doing, err)
	case answer.status == http.StatusInternalServerError:
		return fmt.Errorf("%s: the server failed; its log says why, such as a full disk: %w", doing, err)
	case answer.status == http.StatusForbidden:
		return fmt.Errorf("%s: the administrator lacks a right; give it the tag administrator: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// absent says whether the server has no such thing.
func absent(err error) bool { return statusOf(err) == http.StatusNotFound }

// badPattern says whether the server could not read a regular expression.
func badPattern(err error) bool {
	return statusOf(err) == http.StatusBadRequest && strings.Contains(err.Error(), "invalid_regexp")
}

// failed says whether the server failed at something, for example at closing a
// connection that ended at the same moment.
func failed(err error) bool { return statusOf(err) == http.StatusInternalServerError }

// statusOf is the status of a refusal; 0: err is none.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	return 0
}
