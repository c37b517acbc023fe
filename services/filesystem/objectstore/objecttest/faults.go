package objecttest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// FaultySecret is the administrator's secret where the server is not a gateway.
const FaultySecret = "the-administrators-secret"

// Verbs are all calls of a backend that go to the gateway.
func Verbs(t *testing.T, b Backend) map[string]func(context.Context) error {
	inst := NewInstance("i", func(i *Instance) { i.Plan.DeleteContents = true; i.Plan.Storage = 1 << 20 })
	bd := NewBinding(t, inst, "b", access.ReadWrite)
	return map[string]func(context.Context) error{
		"ready":       b.Ready,
		"provision":   func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) },
		"update":      func(ctx context.Context) error { return servicetest.Once(b).Update(ctx, inst, inst) },
		"bind":        func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err },
		"unbind":      func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
		"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
		"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
		"keep": func(ctx context.Context) error {
			_, err := servicetest.Once(b).Reconcile(ctx, nil, []Instance{inst})
			return err
		},
	}
}

// Nonsense uses servers that are not a gateway, or a broken one: every verb's error is for the
// operator and contains no secret. Unsuspecting verbs are content with any page of something like S3.
func Nonsense(t *testing.T, open func(t *testing.T, endpoint string) Backend, unsuspecting ...string) {
	for name, handler := range map[string]http.HandlerFunc{
		"a web page":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") },
		"nothing":             func(http.ResponseWriter, *http.Request) {},
		"an error of a proxy": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"a page of something like S3": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "1")
			fmt.Fprint(w, "<html>welcome</html>")
		},
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "<ListUserAccountsResult>")
		},
		"an error in JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"Code":"InternalError"}`)
		},
		"a page of something like S3 in JSON": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "1")
			fmt.Fprint(w, `"`+FaultySecret+`"`)
		},
		"a long error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, "<Error><Code>InternalError</Code><Message>%s</Message></Error>", strings.Repeat("x", 100_000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			b := open(t, server.URL)
			for verb, call := range Verbs(t, b) {
				if slices.Contains(unsuspecting, verb) && strings.HasPrefix(name, "a page of something like S3") {
					continue
				}
				CheckFault(t, verb, call(Context(t)), FaultySecret)
			}
		})
	}
}

// CheckFault fails t if the error of a broken gateway is none, the user's, too long, or quotes the
// secret.
func CheckFault(t *testing.T, verb string, err error, secret string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: succeeded", verb)
		return
	}
	if message, refused := services.IsRejected(err); refused {
		t.Errorf("%s: reported as the user's error: %s", verb, message)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%s: the error holds the secret: %v", verb, err)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("%s: the error has %d characters", verb, len(err.Error()))
	}
}

// Hangs is about a server that takes the call and never answers.
func Hangs(t *testing.T, open func(t *testing.T, endpoint string) Backend) {
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}))
	defer server.Close()
	defer close(end)
	b := open(t, server.URL)
	var all sync.WaitGroup
	for verb, call := range Verbs(t, b) {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := call(ctx)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", verb, err)
			}
			CheckFault(t, verb, err, FaultySecret)
		})
	}
	all.Wait()
}
