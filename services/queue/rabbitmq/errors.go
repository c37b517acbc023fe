package rabbitmq

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// explain says what was being done, and what to do where the server's own
// words would not.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the address is in what is being done, or no help
	}
	answer, answered := errors.AsType[*refusal](err)
	switch {
	case errors.Is(err, errForeign):
		return fmt.Errorf("%s: %w; let the url name the management plugin's port, 15672 unless it was changed", doing, err)
	case !answered:
		return fmt.Errorf("%s: the server is away or closed the connection: %w", doing, err)
	case answer.status == http.StatusUnauthorized:
		return fmt.Errorf("%s: the server does not accept the url's user and password, or the user lacks the tag administrator: %w", doing, err)
	case answer.status == http.StatusForbidden:
		return fmt.Errorf("%s: the administrator lacks a right; give it the tag administrator: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// absent says whether the server knows no such thing.
func absent(err error) bool {
	answer, ok := errors.AsType[*refusal](err)
	return ok && answer.status == http.StatusNotFound
}

// badPattern says whether the server could not read a regular expression.
func badPattern(err error) bool {
	answer, ok := errors.AsType[*refusal](err)
	return ok && answer.status == http.StatusBadRequest && strings.Contains(answer.reason, "invalid_regexp")
}

// stumbled says whether the server failed at something: at closing a connection,
// say, that ended in the same moment.
func stumbled(err error) bool {
	answer, ok := errors.AsType[*refusal](err)
	return ok && answer.status == http.StatusInternalServerError
}
