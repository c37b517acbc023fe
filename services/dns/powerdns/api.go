package powerdns

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/httpapi"
)

const callTimeout = 15 * time.Second

// api is the server's HTTP API: the library's calls, and ours for what it lacks.
type api struct {
	*pdns.Client
	http *http.Client
	base string
	key  services.Secret
}

func newAPI(c Config) (*api, error) {
	u, at, err := endpoint.Parse(c.URL, ports)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	u.Host = at.Address()
	authorities, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: callTimeout, Transport: strict{httpapi.NewTransport(authorities, 8)}}
	return &api{
		Client: pdns.New(u.String(), c.ServerID, pdns.WithHTTPClient(client), pdns.WithAPIKey(c.APIKey.Reveal())),
		http:   client,
		base:   u.String() + "/api/v1/servers/" + c.ServerID,
		key:    c.APIKey,
	}, nil
}

// setTransfer sets the keys that may transfer a zone. The library omits an empty list.
func (a *api) setTransfer(ctx context.Context, zone string, keys []string) error {
	body, err := json.Marshal(map[string]any{"master_tsig_key_ids": append([]string{}, keys...)})
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPut, "/zones/"+url.PathEscape(zone), body, nil)
}

// call sends a request, and decodes the answer unless answer is nil.
func (a *api) call(ctx context.Context, method, path string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body)) //nolint:gosec // the operator configures the address
	if err != nil {
		return err
	}
	request.Header.Set("X-API-Key", a.key.Reveal())
	request.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(request) //nolint:gosec // as above
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("the answer to %s %s is not what the API promises: %w", method, path, err)
	}
	return nil
}

// strict runs changes to completion and returns an error for every answer that is not a
// success. The library trusts answers: it follows a null where an error should be, reads
// without end and leaves bodies open.
type strict struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s strict) RoundTrip(r *http.Request) (*http.Response, error) {
	response, body, err := httpapi.Exchange(s.next, r, r.Method != http.MethodGet)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode < 200 || response.StatusCode > 299:
		return nil, &statusError{response.StatusCode, message(body)}
	case bytes.Equal(bytes.TrimSpace(body), []byte("null")):
		return nil, errors.New("the API answers null")
	}
	return response, nil
}

// statusError is an answer of the API other than success.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the API answers %d: %s", e.status, cmp.Or(e.message, http.StatusText(e.status)))
}

// message is what the body of a failure says, in one short line.
func message(body []byte) string {
	var answer struct{ Error string }
	text := string(body)
	if json.Unmarshal(body, &answer) == nil && answer.Error != "" {
		text = answer.Error
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if len(text) > 300 {
		text = text[:300]
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, ""))
}

// answered returns the status of the API's refusal; 0 for other errors.
func answered(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	return 0
}

// absent says whether the API knows no such zone or key.
func absent(err error) bool { return answered(err) == http.StatusNotFound }

// unlessAbsent is err, or nil if it says that what was asked for does not exist.
func unlessAbsent(err error) error {
	if absent(err) {
		return nil
	}
	return err
}

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error {
	if answered(err) == http.StatusInternalServerError { // SQLite's answer to two writes at once
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // users read this, and not the API's address
		}
		return services.NotYet(retry, fmt.Sprintf("%s: the DNS server failed and the broker retries; the server's log says why, such as a full disk: %v", doing, err))
	}
	status := func(statuses ...int) func(error) bool {
		return func(err error) bool { return slices.Contains(statuses, answered(err)) }
	}
	return services.Explain(doing, err, []services.Advice{
		{About: status(0), Text: "the server's API is away"},
		{About: status(http.StatusUnauthorized, http.StatusForbidden), Text: "check api_key, and webserver-allow-from on the server"},
	})
}

// refusedRecords shows the user the server's refusal of records that passed the broker's
// checks: the server also knows the records that applications made.
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
