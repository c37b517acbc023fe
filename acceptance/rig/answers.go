package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing/iotest"
)

// Answers are the brokers' responses to platforms, except for those that carry
// credentials. The zero value is ready; it is safe for concurrent use.
type Answers struct {
	mu   sync.Mutex
	text strings.Builder
}

// Text is all responses, headers and bodies.
func (a *Answers) Text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// record returns a transport that records responses of next; nil: the default transport.
func (a *Answers) record(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &recorder{a, next}
}

type recorder struct {
	*Answers
	next http.RoundTripper
}

var bindingPath = regexp.MustCompile(`/service_bindings/[^/]+$`)

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if err != nil {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil { // the broker died while it answered
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), iotest.ErrReader(err)))
	}
	if response.StatusCode < 300 && bindingPath.MatchString(request.URL.Path) && request.Method != http.MethodDelete {
		return response, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, "%s %s: %s %v %s\n", request.Method, request.URL, response.Status, response.Header, body)
	return response, nil
}

// fetch gets a page.
func fetch(ctx context.Context, address string, user *url.Userinfo) (code int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	request.URL.User = user
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// fetchJSON gets a JSON document that needs no authentication.
func fetchJSON(ctx context.Context, url string, into any) error {
	code, body, err := fetch(ctx, url, nil)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("%s answers %d", url, code)
	}
	return json.Unmarshal([]byte(body), into)
}

// Page gets one of the broker's pages for operators, /healthz, /readyz or /metrics, as the
// operator.
func (b *Broker) Page(ctx context.Context, path string) (code int, body string, err error) {
	d := b.deployment
	return fetch(ctx, b.URL()+path, url.UserPassword(d.Value("CHANDLER_OPERATOR_USERNAME"), d.Value("CHANDLER_OPERATOR_PASSWORD")))
}
