package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// Answers are what brokers answered to platforms, without those that are meant
// to carry credentials. The zero value is ready; it is safe for concurrent use.
type Answers struct {
	mu   sync.Mutex
	text strings.Builder
}

// Text is all answers, headers and bodies.
func (a *Answers) Text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

func (a *Answers) keep(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &recorder{answers: a, next: next}
}

type recorder struct {
	answers *Answers
	next    http.RoundTripper
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
		response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	}
	if response.StatusCode < 300 && bindingPath.MatchString(request.URL.Path) && request.Method != http.MethodDelete {
		return response, nil
	}
	r.answers.mu.Lock()
	defer r.answers.mu.Unlock()
	fmt.Fprintf(&r.answers.text, "%s %s: %s %v %s\n", request.Method, request.URL, response.Status, response.Header, body)
	return response, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// fetch gets a page that needs no authentication.
func fetch(ctx context.Context, url string) (code int, body string, err error) {
	return fetchAs(ctx, url, "", "")
}

func fetchAs(ctx context.Context, url, username, password string) (code int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if username != "" {
		request.SetBasicAuth(username, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// Page gets one of the broker's pages for operators: /healthz, /readyz or
// /metrics, as the operator.
func (b *Broker) Page(ctx context.Context, path string) (code int, body string, err error) {
	return fetchAs(ctx, b.URL()+path, b.deployment.Value("CHANDLER_OPERATOR_USERNAME"), b.deployment.Value("CHANDLER_OPERATOR_PASSWORD"))
}
