package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/chandler-broker/chandler/services/httpapi"
)

// answering is a server's side of one exchange.
type answering func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func body(r io.Reader) answering {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(r)}, nil
	}
}

func TestExchange(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "tea")
	}))
	defer server.Close()
	for _, changes := range []bool{false, true} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, whole, err := httpapi.Exchange(httpapi.NewTransport("", 2), r, changes)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		again, err := io.ReadAll(response.Body)
		if err != nil || string(whole) != "tea" || string(again) != "tea" || response.StatusCode != http.StatusTeapot {
			t.Errorf("%d %q %q %v", response.StatusCode, whole, again, err)
		}
	}
}

func TestExchangeFails(t *testing.T) {
	broken := errors.New("connection reset")
	tests := []struct {
		name   string
		next   answering
		outage bool
		want   string
	}{
		{"no connection", func(*http.Request) (*http.Response, error) { return nil, broken }, true, "connection reset"},
		{"half an answer", body(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken))), true, "read the answer: connection reset"},
		{"too large", body(io.LimitReader(zeros{}, httpapi.MaxAnswer+1)), false, "the answer is larger than any that the API gives"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://server", nil)
			response, _, err := httpapi.Exchange(test.next, r, false)
			if err == nil {
				_ = response.Body.Close()
				t.Fatal("no error")
			}
			outage := httpapi.IsOutage(err)
			if err.Error() != test.want || outage != test.outage || outage && !errors.Is(err, broken) {
				t.Errorf("%v, an outage: %t", err, outage)
			}
		})
	}
}

// When its context ends, a change in progress completes, and a query is abandoned.
func TestExchangeRunsChangesToCompletion(t *testing.T) {
	for name, changes := range map[string]bool{"a change": true, "a question": false} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			next := answering(func(r *http.Request) (*http.Response, error) {
				cancel()
				select {
				case <-r.Context().Done():
					return nil, r.Context().Err()
				case <-time.After(200 * time.Millisecond):
					return body(strings.NewReader("done"))(r)
				}
			})
			response, whole, err := httpapi.Exchange(next, httptest.NewRequestWithContext(ctx, http.MethodPut, "http://server", nil), changes)
			if err == nil {
				_ = response.Body.Close()
			}
			if changes != (string(whole) == "done" && err == nil) {
				t.Errorf("%q, %v", whole, err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
