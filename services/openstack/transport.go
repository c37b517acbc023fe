package openstack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/chandler-broker/chandler/services/httpapi"
)

// transport runs changes to completion, and returns a Failure for every answer that is not a
// success in JSON. Only a 401 passes, because gophercloud authenticates again after it.
type transport struct {
	keystone string // its URL, by which its answers are told from the service's
	service  string
	next     http.RoundTripper
}

// called returns the name of the service that a request is for.
func (t transport) called(r *http.Request) string {
	if strings.HasPrefix(r.URL.String(), t.keystone+"/") {
		return keystoneName
	}
	return t.service
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	service := t.called(r)
	response, body, err := httpapi.Exchange(t.next, r, r.Method != http.MethodGet && r.Method != http.MethodHead)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", service, err)
	}
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized:
		response.Header.Set(serviceHeader, service)
		response.Body = io.NopCloser(bytes.NewReader(body))
		return response, nil
	case status < 200 || status > 299:
		f := &Failure{Service: service, Status: status, Request: requestID(response.Header)}
		f.Type, f.Message = readFailure(body)
		f.Message = cmp.Or(f.Message, fmt.Sprintf("%s, in a text that is not the API's", http.StatusText(status)))
		return nil, f
	case !isAnswer(body):
		return nil, fmt.Errorf("%s answers %d with something other than a JSON object: is there a proxy in between", service, status)
	}
	return response, nil
}

// isAnswer reports whether a body is empty or a JSON object.
func isAnswer(body []byte) bool {
	body = bytes.TrimSpace(body)
	return len(body) == 0 || body[0] == '{' && json.Valid(body)
}
