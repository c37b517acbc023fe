package powerdns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// zones lists all zones, or the one of a name, without their DNSSEC keys.
func (a *api) zones(ctx context.Context, name string) ([]pdns.Zone, error) {
	query := url.Values{"dnssec": {"false"}}
	if name != "" {
		query.Set("zone", name)
	}
	var zones []pdns.Zone
	err := a.call(ctx, http.MethodGet, "/zones?"+query.Encode(), nil, &zones)
	return zones, err
}

// setTransfer sets the names of the keys that may transfer a zone. The library
// leaves an empty list out.
func (a *api) setTransfer(ctx context.Context, zone string, keys []string) error {
	if keys == nil {
		keys = []string{}
	}
	return a.call(ctx, http.MethodPut, "/zones/"+url.PathEscape(zone), map[string]any{"master_tsig_key_ids": keys}, nil)
}

func (a *api) call(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("X-API-Key", a.key.Reveal())
	request.Header.Set("Content-Type", "application/json")
	response, err := a.http.Do(request)
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

// strict runs changes to completion and makes every answer that is not a success an
// error. It does so here because the library trusts answers: it follows a null where
// an error should be, reads without end and leaves bodies open.
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
		return nil, errors.New("the answer is null, which is none of the API's")
	}
	return response, nil
}

// statusError is an answer of the API other than success.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("the API answers %d %s", e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("the API answers %d: %s", e.status, e.message)
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
