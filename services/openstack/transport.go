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
	response.Header.Set(serviceHeader, service)
	switch status := response.StatusCode; {
	case status == http.StatusUnauthorized:
		response.Body = io.NopCloser(bytes.NewReader(scrub(r, body)))
		return response, nil
	case status < 200 || status > 299:
		f := &Failure{Service: service, Status: status, Request: requestID(response.Header)}
		f.Type, f.Message = readFailure(scrub(r, body))
		f.Message = cmp.Or(f.Message, fmt.Sprintf("%s, in a text that is not the API's", http.StatusText(status)))
		return nil, f
	case !isAnswer(body):
		return nil, fmt.Errorf("%s answers %d with something other than a JSON object: is there a proxy in between", service, status)
	}
	return response, nil
}

// scrub removes the secrets of a request from the answer, which may repeat it.
func scrub(r *http.Request, answer []byte) []byte {
	secrets := []string{r.Header.Get("X-Auth-Token"), r.Header.Get("X-Subject-Token")}
	if r.GetBody != nil {
		if body, err := r.GetBody(); err == nil {
			var content any
			if json.NewDecoder(body).Decode(&content) == nil {
				secrets = collect(content, secrets)
			}
			_ = body.Close() // it is in memory
		}
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		answer = bytes.ReplaceAll(answer, []byte(secret), []byte("[redacted]"))
		if escaped, err := json.Marshal(secret); err == nil {
			answer = bytes.ReplaceAll(answer, bytes.Trim(escaped, `"`), []byte("[redacted]"))
		}
	}
	return answer
}

// collect adds the passwords and secrets in a request's content.
func collect(content any, secrets []string) []string {
	switch c := content.(type) {
	case map[string]any:
		for key, value := range c {
			if text, ok := value.(string); ok && (key == "password" || key == "secret") {
				secrets = append(secrets, text)
			} else {
				secrets = collect(value, secrets)
			}
		}
	case []any:
		for _, value := range c {
			secrets = collect(value, secrets)
		}
	}
	return secrets
}

// isAnswer reports whether a body is empty or a JSON object.
func isAnswer(body []byte) bool {
	body = bytes.TrimSpace(body)
	return len(body) == 0 || body[0] == '{' && json.Valid(body)
}
