package powerdns

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// answered returns the status with which the API refused, 0 if it did not.
func answered(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	return 0
}

// absent says whether the API knows no such zone or key.
func absent(err error) bool { return answered(err) == http.StatusNotFound }

// unlessAbsent is err unless it says that there is no such thing.
func unlessAbsent(err error) error {
	if absent(err) {
		return nil
	}
	return err
}

// explain adds what the broker was doing and what the operator can do. A failure of the
// server is retried: SQLite fails like that if one write meets another.
func explain(doing string, err error) error {
	if _, rejected := services.IsRejected(err); err == nil || rejected {
		return err
	}
	switch answered(err) {
	case 0:
		return fmt.Errorf("%s: the server's API is away: %w", doing, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s: check api_key, and webserver-allow-from on the server: %w", doing, err)
	case http.StatusInternalServerError:
		return services.NotYet(retry, fmt.Sprintf("%s: the DNS server failed and the broker retries; the server's log says why, such as a full disk: %v", doing, withoutAddress(err)))
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// withoutAddress is err without the API's address, for what users read too.
func withoutAddress(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// refusedRecords shows the user the server's refusal of records. They have passed all
// checks of the broker; the server knows more, such as records that an application made.
func refusedRecords(doing string, err error) error {
	s, ok := errors.AsType[*statusError](err)
	if ok && s.status == http.StatusUnprocessableEntity {
		for _, beginning := range []string{"Record ", "RRset ", "Duplicate record"} {
			if strings.HasPrefix(s.message, beginning) {
				return services.Rejected("parameters.records: the DNS server refuses them: %s", s.message)
			}
		}
	}
	return explain(doing, err)
}
