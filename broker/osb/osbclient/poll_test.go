package osbclient_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

const (
	inProgress = `{"state": "in progress"}`
	succeeded  = `{"state": "succeeded", "description": "done"}`
)

// sequence answers each request with the next handler, and the last for ever.
func sequence(handlers ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		next := handlers[0]
		if len(handlers) > 1 {
			handlers = handlers[1:]
		}
		next(w, r)
	}
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestWait(t *testing.T) {
	tests := []struct {
		name    string
		poll    osbclient.Poll
		answers []http.HandlerFunc
		polls   int
		state   string
		want    string
	}{
		{"at once", osbclient.Poll{}, []http.HandlerFunc{answer(200, succeeded)}, 1, "succeeded", ""},
		{"later", osbclient.Poll{}, []http.HandlerFunc{answer(200, inProgress, "Retry-After", "3600"), answer(200, inProgress), answer(200, succeeded)},
			3, "succeeded", ""},
		{"failed", osbclient.Poll{}, []http.HandlerFunc{answer(200, inProgress), answer(200, `{"state": "failed", "description": "no room"}`)},
			2, "failed", "the operation failed: no room"},
		{"failed in silence", osbclient.Poll{}, []http.HandlerFunc{answer(200, `{"state": "failed"}`)},
			1, "failed", "the operation failed, and the broker does not say why"},
		{"a broker that restarts", osbclient.Poll{}, []http.HandlerFunc{cut, answer(503, `{"description": "starting"}`), answer(200, succeeded)},
			3, "succeeded", ""},
		{"gone after a delete", osbclient.Poll{Deletion: true}, []http.HandlerFunc{answer(200, inProgress), answer(410, `{}`)}, 2, "succeeded", ""},
		{"gone without a delete", osbclient.Poll{}, []http.HandlerFunc{answer(410, `{}`)}, 1, "", "the broker answered 410 Gone"},
		{"unknown", osbclient.Poll{}, []http.HandlerFunc{answer(404, `{"description": "no such instance"}`)}, 1, "",
			"the broker answered 404 Not Found: no such instance"},
		{"a state there is not", osbclient.Poll{}, []http.HandlerFunc{answer(200, `{"state": "done"}`)}, 1, "done",
			`the broker answered a poll with the state "done", which there is not`},
	}
	for _, test := range tests {
		for name, wait := range map[string]func(context.Context, *osbclient.Client) (osbclient.LastOperation, error){
			"instance": func(ctx context.Context, c *osbclient.Client) (osbclient.LastOperation, error) {
				return c.WaitInstance(ctx, "i", test.poll)
			},
			"binding": func(ctx context.Context, c *osbclient.Client) (osbclient.LastOperation, error) {
				return c.WaitBinding(ctx, "i", "b", test.poll)
			},
		} {
			t.Run(test.name+", "+name, func(t *testing.T) {
				o, got := server(t, sequence(test.answers...))
				o.MaxRetryAfter = time.Millisecond
				o.HTTP = unrepeated(t)
				last, err := wait(t.Context(), client(t, o))
				text := ""
				if err != nil {
					text = err.Error()
				}
				if diff := cmp.Diff(test.want, text); diff != "" {
					t.Errorf("error (-want +got):\n%s", diff)
				}
				if last.State != test.state || len(*got) != test.polls {
					t.Errorf("state %q after %d polls, not %q after %d", last.State, len(*got), test.state, test.polls)
				}
			})
		}
	}
}

// unrepeated is a client whose connections serve one request: net/http repeats
// a request by itself when a kept connection turns out to be cut.
func unrepeated(t *testing.T) *http.Client {
	t.Helper()
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := httptest.NewServer(answer(503, `{"description": "down for good"}`))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client(t, osbclient.Options{URL: s.URL}).WaitInstance(ctx, "i", osbclient.Poll{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the error is %v", err)
	}
	if _, ok := errors.AsType[*osbclient.Error](err); !ok {
		t.Errorf("the error does not tell what the broker said last: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name     string
		header   []string
		most     time.Duration
		from, to time.Duration
	}{
		{"none", nil, 0, 900 * time.Millisecond, 5 * time.Second},
		{"seconds", []string{"Retry-After", "1"}, 0, 900 * time.Millisecond, 5 * time.Second},
		{"capped", []string{"Retry-After", "3600"}, 20 * time.Millisecond, 20 * time.Millisecond, 3 * time.Second},
		{"at once", []string{"Retry-After", "0"}, 0, 0, 900 * time.Millisecond},
		{"a date that is past", []string{"Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"}, 0, 0, 900 * time.Millisecond},
		{"nonsense", []string{"Retry-After", "-5"}, 20 * time.Millisecond, 20 * time.Millisecond, 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o, _ := server(t, sequence(answer(200, inProgress, test.header...), answer(200, succeeded)))
			o.MaxRetryAfter = test.most
			start := time.Now()
			if _, err := client(t, o).WaitInstance(t.Context(), "i", osbclient.Poll{}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < test.from || took > test.to {
				t.Errorf("waited %s, not from %s to %s", took, test.from, test.to)
			}
		})
	}
}
