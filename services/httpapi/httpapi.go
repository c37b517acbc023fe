// Package httpapi calls the HTTP APIs with which backends administer servers.
package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

const (
	// ConnectTimeout limits an attempt to connect, to distinguish a server that is away
	// from a slow one.
	ConnectTimeout = 5 * time.Second
	// MaxAnswer is the maximum size of an answer. A list of a hundred thousand users or
	// records is smaller.
	MaxAnswer = 64 << 20
)

// NewTransport makes a transport with so many idle connections. ca comes from package cafile.
func NewTransport(ca string, connections int) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: ConnectTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: ConnectTimeout,
		TLSClientConfig:     cafile.TLS(ca),
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     30 * time.Second, // less than the servers', the shortest of which is 60 s
	}
}

// Exchange sends a request and reads the whole answer. A request that changes something runs
// to completion (services.RunToCompletion).
func Exchange(next http.RoundTripper, r *http.Request, changes bool) (response *http.Response, body []byte, err error) {
	if !changes {
		return exchange(next, r)
	}
	err = services.RunToCompletion(r.Context(), func(ctx context.Context) (err error) {
		response, body, err = exchange(next, r.WithContext(ctx)) //nolint:bodyclose // it is in memory
		return err
	})
	return response, body, err
}

func exchange(next http.RoundTripper, r *http.Request) (*http.Response, []byte, error) {
	response, err := next.RoundTrip(r)
	if err != nil {
		return nil, nil, &outage{err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswer+1))
	if err != nil {
		return nil, nil, &outage{fmt.Errorf("read the answer: %w", err)}
	}
	if len(body) > MaxAnswer {
		return nil, nil, errors.New("the answer is larger than any that the API gives")
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, body, nil
}

// outage is the error of a server that did not answer, or not completely.
type outage struct{ error }

func (o *outage) Unwrap() error { return o.error }

// IsOutage reports whether a server did not answer, or not completely.
func IsOutage(err error) bool {
	_, ok := errors.AsType[*outage](err)
	return ok
}
