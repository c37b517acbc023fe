package openwhisk

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

const testToken = "a-very-secret-token-of-tests"

// pretender is a backend whose runtime answers as handler does.
func pretender(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	b, err := open(t.Context(), Config{AdminURL: server.URL, Token: services.NewSecret(testToken), APIHost: "http://127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Whatever a server answers, the backend says so in few words, blames nobody and
// goes on living.
func TestNonsense(t *testing.T) {
	inst, bd := testInstance(t, `{}`), testBinding(t, "b")
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) },
		"another shape": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"namespaces": 5, "waiting": 5}`))
		},
		"a long page for an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(strings.Repeat("\x00no\n", 100000)))
		},
		"a wrong token": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/stolen", http.StatusTemporaryRedirect)
		},
		"an answer cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("["))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := pretender(t, handler)
			calls := map[string]func(context.Context) error{
				"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
				"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
			}
			if name != "no JSON" && name != "another shape" { // the others have no answer to read
				calls["ready"] = b.Ready
				calls["provision"] = func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) }
				calls["bind"] = func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err }
				calls["unbind"] = func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) }
			}
			for verb, call := range calls {
				err := call(t.Context())
				if err == nil {
					t.Errorf("%s succeeded", verb)
					continue
				}
				if _, rejected := services.IsRejected(err); rejected || len(err.Error()) > 700 || strings.Contains(err.Error(), testToken) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// A server that hangs is given up by the time that the caller gives.
func TestHanging(t *testing.T) {
	b := pretender(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := servicetest.Once(b).Provision(ctx, testInstance(t, `{}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("provision: %v", err)
	}
}

// Another runtime is asked where one cannot be reached.
func TestSeveralRuntimes(t *testing.T) {
	server := newServer(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	b, err := open(t.Context(), Config{
		AdminURL: "http://" + gone.Addr().String() + ", " + server.AdminURL(), Token: services.NewSecret(server.AdminToken()), APIHost: server.URL(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := errors.Join(b.Ready(t.Context()), servicetest.Once(b).Provision(t.Context(), testInstance(t, `{}`))); err != nil {
		t.Error(err)
	}
}
