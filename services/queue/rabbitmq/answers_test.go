package rabbitmq

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// verbs are all that ask the server something.
func verbs(t *testing.T, b *backend) map[string]func(context.Context) error {
	t.Helper()
	inst := newInstance("answers", func(i *instance) { i.Plan.QueueMessages = 10 })
	bd := newBinding(t, inst, "b", `{}`)
	return map[string]func(context.Context) error{
		"ready":       b.Ready,
		"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
		"provision":   func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) },
		"update":      func(ctx context.Context) error { return servicetest.Once(b).Update(ctx, inst, inst) },
		"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
		"bind":        func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err },
		"unbind":      func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) },
	}
}

// Whatever answers instead of the server, every verb's error tells the operator what is
// wrong, and is not reported as the user's.
func TestAnswers(t *testing.T) {
	answer := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"a web page", answer(200, "text/html", "<html>"), "let the url name the management plugin's port, 15672 unless it was changed: the reply did not come from RabbitMQ's management API: 200 OK"},
		{"another API", answer(200, "application/json", `{"hello": "world"}`), ""},
		{"JSON cut off", answer(200, "application/json", `[{"name": "x`), "not come from RabbitMQ's management API"},
		{"nothing", answer(204, "", ""), ""},
		{"not found", answer(404, "text/plain", "404 page not found"), "not come from RabbitMQ's management API: 404"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "not come from RabbitMQ's management API: 302"},
		{"wrong password", answer(401, "application/json", `{"error":"not_authorized","reason":"Login failed"}`), "does not accept the url's user and password"},
		{"no right", answer(403, "application/json", `{"error":"forbidden","reason":"no"}`), "lacks a right; give it the tag administrator"},
		{"failure", answer(503, "text/html", "<html>"), "the server answers 503"},
		{"failure with a list as reason", answer(400, "application/json", `{"error":"bad_request","reason":["odd",[1,2]]}`), `400 bad_request: ["odd",[1,2]]`},
		{"hanging up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the server is away or closed the connection"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("["))
			panic(http.ErrAbortHandler)
		}, "the server is away or closed the connection"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fake := httptest.NewServer(test.handler)
			t.Cleanup(fake.Close)
			b := openBackend(t, json.RawMessage(`{"url": "`+strings.Replace(fake.URL, "//", "//admin:hunter2@", 1)+`"}`))
			for name, verb := range verbs(t, b) {
				err := verb(testContext(t))
				if test.want == "" { // right for some verbs
					continue
				}
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: %v, want %q", name, err, test.want)
				} else if _, rejected := services.IsRejected(err); rejected || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: %v", name, err)
				}
			}
			if b.Ready(testContext(t)) == nil {
				t.Error("it is ready")
			}
		})
	}
}

// A server that hangs holds a verb up for as long as its context allows, and a few
// seconds longer where something is changed.
func TestHang(t *testing.T) {
	over := make(chan struct{})
	fake := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(fake.Close)
	t.Cleanup(func() { close(over) })
	b := openBackend(t, json.RawMessage(`{"url": "`+strings.Replace(fake.URL, "//", "//admin:hunter2@", 1)+`"}`))
	var all sync.WaitGroup
	for name, verb := range verbs(t, b) {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := verb(ctx); err == nil || !strings.Contains(err.Error(), "the server did not answer in time") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
}

// A virtual host that is being made when the operation is cancelled exists before the
// undo begins, and not only later.
func TestChangeOutlastsItsContext(t *testing.T) {
	var made atomic.Bool
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			time.Sleep(300 * time.Millisecond)
			made.Store(true)
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(fake.Close)
	b := openBackend(t, json.RawMessage(`{"url": "`+strings.Replace(fake.URL, "//", "//admin:hunter2@", 1)+`"}`))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := verbs(t, b)["provision"](ctx); err == nil {
		t.Error("provision succeeded although its context had ended")
	}
	if !made.Load() {
		t.Error("the server still makes the virtual host")
	}
}

// The real server refuses an account that is not an administrator's.
func TestAdministrators(t *testing.T) {
	server := newServer(t)
	admin := server.backend(t, "admins")
	c := admin.api.client(testContext(t))
	for _, test := range []struct {
		name, user, tag, password, want string
	}{
		{"no tag", "admins-none", "", "hunter2", "lacks the tag administrator"},
		{"management only", "admins-management", "management", "hunter2", "rabbitmqctl set_user_tags admins-management administrator"},
		{"wrong password", "admins-wrong", "administrator", "hunter3", "does not accept the url's user and password"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := c.PutUser(test.user, rabbithole.UserSettings{Tags: rabbithole.UserTags{test.tag}, Password: "hunter2"}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, err := c.DeleteUser(test.user); err != nil {
					t.Error(err)
				}
			})
			u := *server.admin
			u.User = url.UserPassword(test.user, test.password)
			b := openBackend(t, json.RawMessage(`{"url": "`+u.String()+`"}`))
			expect(t, b.Ready(testContext(t)), test.want)
			err := servicetest.Once(b).Provision(testContext(t), newInstance("admins", nil))
			if err == nil || strings.Contains(err.Error(), "hunter") {
				t.Errorf("provision: %v", err)
			}
		})
	}
	if left := server.left(t, "c"); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// A regular expression that Go reads and the server does not is the user's error. It
// leaves a user on the server, which unbind removes.
func TestPatternsTheServerRefuses(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "regexp")
	inst := provisioned(t, b, "regexp", nil)
	for name, params := range map[string]string{
		"permission": `{"write": "\\x{10FFFF}"}`,
		"topic":      `{"topics": [{"exchange": "amq.topic", "write": "\\x{10FFFF}"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			bd := newBinding(t, inst, name, params)
			_, err := servicetest.Once(b).Bind(ctx, inst, bd)
			if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "use PCRE's syntax") {
				t.Errorf("%v", err)
			}
			if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
				t.Error(err)
			}
		})
	}
}
