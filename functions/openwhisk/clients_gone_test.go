package openwhisk_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that disconnects causes no error of the runtime, and its activation continues.
func TestClientsThatHangUp(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	c := s.tenant("ns", plan())
	c.action("a", "wait", `"annotations":[{"key":"web-export","value":true}]`)
	for name, test := range map[string]struct {
		method, path string
		body         string
		whole        bool
	}{
		"a blocking call": {"POST", "/api/v1/namespaces/_/actions/a?blocking=true", "{}", true},
		"a web action":    {"GET", "/api/v1/web/ns/default/a", "", true},
		"an upload":       {"PUT", "/api/v1/namespaces/_/actions/b", `{"exec":`, false},
		"a payload":       {"POST", "/api/v1/namespaces/_/actions/a", `{"a":`, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, hangUp := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer hangUp()
			body := io.Reader(strings.NewReader(test.body))
			if !test.whole {
				body = io.MultiReader(body, &never{ctx})
			}
			request, err := http.NewRequestWithContext(ctx, test.method, s.url+test.path, body)
			if err != nil {
				t.Fatal(err)
			}
			request.SetBasicAuth(c.user, c.key)
			response, err := http.DefaultTransport.RoundTrip(request)
			if err == nil {
				_ = response.Body.Close()
				t.Fatalf("answered %d", response.StatusCode)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	close(r.hold)
	eventually(t, "the activations are recorded", func() bool { return len(c.must(200, "GET", "activations", "").list(t)) == 2 })
	if logs := s.logs.String(); strings.Contains(logs, "level=ERROR") || strings.Contains(logs, "level=WARN") {
		t.Errorf("logged:\n%s", logs)
	}
}

// never is a body that never ends.
type never struct{ ctx context.Context }

func (n *never) Read([]byte) (int, error) {
	<-n.ctx.Done()
	return 0, n.ctx.Err()
}

// The path may begin with several slashes, because the API's host may end in one.
func TestSlashAfterTheHost(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.action("a", "echo", `"annotations":[{"key":"web-export","value":true}]`)
	for path, status := range map[string]int{
		"//api/v1/namespaces": 200, "///api/v1/namespaces/_/actions/a": 200, "//api/v1/web/ns/default/a.json": 200, "//": 200,
		"/api//v1/namespaces": 404, "/api/v1/namespaces/_//actions": 404, "//nowhere": 404,
	} {
		if got := c.call("GET", path, ""); got.status != status {
			t.Errorf("%s: %d, want %d: %s", path, got.status, status, got.body)
		}
	}
	c.must(200, "PUT", "actions/a%20b", `{"exec":{"kind":"nodejs:default","code":"echo"}}`)
	if got := c.call("GET", "//api/v1/namespaces/_/actions/a%20b", ""); got.status != 200 {
		t.Errorf("an encoded name: %d %s", got.status, got.body)
	}
	rest := c.call("GET", "//api/v1/web/ns/default/a.json//x", "").json(t)
	same(t, "the rest of a web action's path", rest["__ow_path"], `"//x"`)
}
