package osbclient_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
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
			`the broker answered a poll with the unknown state "done"`},
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

// handled answers requests without a network, so that time can be a bubble's.
type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		down := handled{answer(503, `{"description": "down for good"}`)}
		_, err := client(t, osbclient.Options{URL: "http://broker", HTTP: &http.Client{Transport: down}}).WaitInstance(ctx, "i", osbclient.Poll{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the error is %v", err)
		}
		if _, ok := errors.AsType[*osbclient.Error](err); !ok {
			t.Errorf("the error does not tell what the broker said last: %v", err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		most   time.Duration
		want   time.Duration
	}{
		{"none", nil, 0, time.Second},
		{"seconds", []string{"Retry-After", "3"}, 0, 3 * time.Second},
		{"capped", []string{"Retry-After", "3600"}, 20 * time.Millisecond, 20 * time.Millisecond},
		{"at once", []string{"Retry-After", "0"}, 0, 0},
		{"a date", []string{"Retry-After", "Sat, 01 Jan 2000 00:00:05 GMT"}, 0, 5 * time.Second}, // a bubble begins with 2000
		{"a date that is past", []string{"Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"}, 0, 0},
		{"nonsense", []string{"Retry-After", "-5"}, 20 * time.Millisecond, 20 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := handled{sequence(answer(200, inProgress, test.header...), answer(200, succeeded))}
				o := osbclient.Options{URL: "http://broker", HTTP: &http.Client{Transport: broker}, MaxRetryAfter: test.most}
				start := time.Now()
				if _, err := client(t, o).WaitInstance(t.Context(), "i", osbclient.Poll{}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != test.want {
					t.Errorf("waited %s, not %s", took, test.want)
				}
			})
		})
	}
}
