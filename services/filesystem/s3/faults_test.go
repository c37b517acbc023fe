package s3

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// verbs are all calls of a backend that go to the gateway.
func verbs(t *testing.T, b *backend) map[string]func(context.Context) error {
	inst := newInstance("i", func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Storage = 1 << 20 })
	bd := newBinding(t, inst, "b", access.ReadWrite)
	return map[string]func(context.Context) error{
		"ready":       b.Ready,
		"provision":   func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) },
		"update":      func(ctx context.Context) error { return servicetest.Once(b).Update(ctx, inst, inst) },
		"bind":        func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err },
		"unbind":      func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
		"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
		"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
		"keep": func(ctx context.Context) error {
			_, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
			return err
		},
	}
}

const faultySecret = "the-administrators-secret"

func faultyConfig(endpoint string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"endpoint": %q, "access_key_id": "admin", "secret_access_key": %q}`, endpoint, faultySecret))
}

// If the server is not a gateway, or a broken one, every verb's error is for the operator,
// contains no secret, and is not reported as the user's.
func TestNonsense(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a web page":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") },
		"nothing":             func(http.ResponseWriter, *http.Request) {},
		"an error of a proxy": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusTemporaryRedirect)
		},
		"a page of something like S3": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amz-Request-Id", "1")
			fmt.Fprint(w, "<html>welcome</html>")
		},
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "<ListUserAccountsResult>")
		},
		"a long error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprintf(w, "<Error><Code>InternalError</Code><Message>%s</Message></Error>", strings.Repeat("x", 100_000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			b := openBackend(t, faultyConfig(server.URL))
			for verb, call := range verbs(t, b) {
				if verb == "provision" && name == "a page of something like S3" {
					continue // it asks for nothing but a success
				}
				checkFault(t, verb, call(testContext(t)))
			}
		})
	}
}

func checkFault(t *testing.T, verb string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: succeeded", verb)
		return
	}
	if message, refused := services.IsRejected(err); refused {
		t.Errorf("%s: reported as the user's error: %s", verb, message)
	}
	if strings.Contains(err.Error(), faultySecret) {
		t.Errorf("%s: the error holds the secret: %v", verb, err)
	}
	if len(err.Error()) > 1000 {
		t.Errorf("%s: the error has %d characters", verb, len(err.Error()))
	}
}

// A server that takes the call and never answers.
func TestHangs(t *testing.T) {
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	}))
	defer server.Close()
	defer close(end)
	b := openBackend(t, faultyConfig(server.URL))
	var all sync.WaitGroup
	for verb, call := range verbs(t, b) {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := call(ctx)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", verb, err)
			}
			checkFault(t, verb, err)
		})
	}
	all.Wait()
}

// The real gateway refuses an unknown account and one that may not administer it.
func TestWrongRights(t *testing.T) {
	server := newServer(t)
	right := server.backend(t, "c")
	if err := right.gateway.putAccount(testContext(t), "mere-user", services.NewSecret(faultySecret)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]map[string]any{
		"an unknown account": {"access_key_id": "nobody"},
		"a wrong secret":     {"secret_access_key": faultySecret},
		"no administrator":   {"access_key_id": "mere-user", "secret_access_key": faultySecret},
		"another region":     {"region": "eu-central-1"},
	} {
		t.Run(name, func(t *testing.T) {
			var config map[string]any
			if err := json.Unmarshal(server.config("c", server.address()), &config); err != nil {
				t.Fatal(err)
			}
			for key, value := range change {
				config[key] = value
			}
			raw, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			for verb, call := range verbs(t, openBackend(t, raw)) {
				err := call(testContext(t))
				checkFault(t, verb, err)
				if strings.Contains(err.Error(), server.SecretAccessKey()) {
					t.Errorf("%s: the error holds the secret", verb)
				}
				if name != "another region" { // which has a refusal of its own
					expect(t, err, "check that access_key_id and secret_access_key are an account with the role admin")
				}
			}
		})
	}
}

// The gateway ends between two verbs and comes back: nothing is lost, and
// connections that died meanwhile are no failed calls.
func TestGatewayRestarts(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	bd := newBinding(t, inst, "b", access.ReadWrite)
	first := bound(t, b, inst, bd)
	dialled(t, first.Values).mustPut(t, "key", "value")
	server.Kill()
	for verb, call := range verbs(t, b) {
		checkFault(t, verb, call(ctx))
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if value, err := dialled(t, first.Values).Read(ctx, "key"); value != "value" || err != nil {
		t.Errorf("after the restart: %q, %v", value, err)
	}
	again := bound(t, b, inst, bd)
	if again.Values["uri"] != first.Values["uri"] {
		t.Error("other credentials after the restart")
	}
	for _, verb := range []string{"unbind", "deprovision"} {
		if err := verbs(t, b)[verb](ctx); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// An account with the role admin will do, and another one can take its place.
func TestAdministrators(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	root := server.backend(t, "c")
	var replicas []*backend
	for _, name := range []string{"one", "two"} {
		account := struct {
			XMLName              xml.Name `xml:"Account"`
			Access, Secret, Role string
		}{Access: name, Secret: faultySecret, Role: "admin"}
		if err := root.gateway.command(ctx, "create-user", nil, account, nil); err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, openBackend(t, json.RawMessage(fmt.Sprintf(
			`{"endpoint": %q, "access_key_id": %q, "secret_access_key": %q}`, server.Endpoint(), name, faultySecret))))
	}
	inst := provisioned(t, replicas[0], "i", func(i *instance) { i.Plan.DeleteContents = true })
	first := bound(t, replicas[0], inst, newBinding(t, inst, "b", access.ReadWrite))
	if err := root.gateway.deleteAccount(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(replicas[1]).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bound(t, replicas[1], inst, newBinding(t, inst, "another", access.ReadOnly))
	dialled(t, first.Values).mustPut(t, "key", "value")
	if err := servicetest.Once(replicas[1]).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left, err := server.leftOf(ctx, inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A call that changes something is seen to its end, whoever gave it up: what
// follows must not be overtaken by it.
func TestChangesAreSeenToTheirEnd(t *testing.T) {
	for name, c := range map[string]struct {
		call  func(context.Context, *client) error
		ended bool
	}{
		"a change": {func(ctx context.Context, g *client) error { return g.createBucket(ctx, "bucket") }, true},
		"a question": {func(ctx context.Context, g *client) error {
			_, err := g.policy(ctx, "bucket")
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				giveUp()
				if c.ended {
					select { // a moment for who would hang up
					case <-r.Context().Done():
					case <-time.After(100 * time.Millisecond):
					}
				} else {
					<-r.Context().Done()
				}
				w.Header().Set("X-Amz-Request-Id", "1")
			}))
			defer server.Close()
			err := c.call(ctx, openBackend(t, faultyConfig(server.URL)).gateway)
			if c.ended && err != nil || !c.ended && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}
