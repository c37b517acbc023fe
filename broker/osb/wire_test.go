package osb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// wire is a whole broker behind its HTTP API: the real rules, engine and state,
// and a backend in memory that does what a test says.
type wire struct {
	*brokertest.Harness
	handler http.Handler
	url     string
	log     *logged

	mu   sync.Mutex
	does map[string]error // what the backend returns, by verb and ID
	runs int
}

// logged is a log to look at while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The broker of the tests waits for an operation this long before it answers
// 202, and before it gives up on it.
const (
	asyncWait = time.Second
	syncWait  = 5 * time.Second
)

func newWire(t testing.TB, change ...func(*osb.Options)) *wire {
	t.Helper()
	w := &wire{log: &logged{}, does: map[string]error{}}
	logger := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.Harness = brokertest.New(t, brokertest.Options{
		DatabaseURL: brokertest.Database(t), Logger: logger, AsyncWait: asyncWait, SyncWait: syncWait,
	})
	w.Backend.BeforeCall(w.backend)
	options := osb.Options{
		Broker: w.Broker, Catalog: w.Catalog, Logger: logger, RequireVersion: true,
		Authenticator: brokertest.Authenticator(t,
			catalog.Client{Name: "cf", Username: "cf", Passwords: []services.Secret{services.NewSecret("old-password"), services.NewSecret("cf-password")}},
			catalog.Client{Name: "k8s", Username: "k8s", Passwords: []services.Secret{services.NewSecret("k8s-password")}}),
	}
	for _, f := range change {
		f(&options)
	}
	w.handler = osb.Handler(options)
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *wire) backend(_ context.Context, verb, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.does[verb+" "+id]
	if _, rejected := services.IsRejected(err); rejected {
		delete(w.does, verb+" "+id) // what is refused can still be undone
	}
	return err
}

// make has the backend answer a verb on an instance or a binding with err; nil
// makes it work again.
func (w *wire) make(verb, id string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.does[verb+" "+id] = err
}

// takes makes a verb go on until it is told otherwise.
func (w *wire) takes(verb, id string) {
	w.make(verb, id, services.NotYet(50*time.Millisecond, "still at it"))
}

// row is what was sent and the answer. In all its texts $i stands for the row's
// own instance ID and $b for its own binding ID.
type row struct {
	name string
	// given is what happened before.
	given []step
	// send is the method and the path with its query.
	send string
	// with are headers beside the usual ones; "Name:" alone takes one away.
	with []string
	body string

	status int
	// answer is the body as JSON. "*" stands for any string that is not
	// empty, "~text" for any that has the text in it. Nothing else may be in
	// the body. An empty answer is an empty body.
	answer string
	// says are headers of the answer.
	says []string
}

// step is something that happens before a row's request.
type step func(t *testing.T, w *wire, expand func(string) string)

// sent is a request that was answered with the status.
func sent(send, body string, status int) step {
	return func(t *testing.T, w *wire, expand func(string) string) {
		t.Helper()
		got := w.do(t, expand(send), nil, expand(body))
		if got.status != status {
			t.Fatalf("given %s: %d %s, want %d", expand(send), got.status, got.body, status)
		}
	}
}

// taking is a backend that is not done with the verb for as long as the row
// lasts.
func taking(verb, id string) step {
	return func(t *testing.T, w *wire, expand func(string) string) {
		w.takes(verb, expand(id))
		t.Cleanup(func() { w.make(verb, expand(id), nil) })
	}
}

// refusing is a backend that rejects the verb once.
func refusing(verb, id, message string) step {
	return func(_ *testing.T, w *wire, expand func(string) string) {
		w.make(verb, expand(id), services.Rejected("%s", message))
	}
}

// then is the backend at work again.
func then(verb, id string) step {
	return func(_ *testing.T, w *wire, expand func(string) string) { w.make(verb, expand(id), nil) }
}

// ended waits until the last operation at the path is no longer in progress.
func ended(path string) step {
	return func(t *testing.T, w *wire, expand func(string) string) {
		t.Helper()
		for range 200 {
			if got := w.do(t, "GET "+expand(path)+"/last_operation", nil, ""); !strings.Contains(got.body, "in progress") {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("the operation on %s did not end", expand(path))
	}
}

// run plays the table.
func (w *wire) run(t *testing.T, table []row) {
	t.Helper()
	for _, r := range table {
		t.Run(r.name, func(t *testing.T) {
			w.runs++
			i, b := fmt.Sprintf("instance-%d", w.runs), fmt.Sprintf("binding-%d", w.runs)
			expand := strings.NewReplacer("$i", i, "$b", b).Replace
			for _, s := range r.given {
				s(t, w, expand)
			}
			got := w.do(t, expand(r.send), r.with, expand(r.body))
			if got.status != r.status {
				t.Errorf("answered %d, want %d", got.status, r.status)
			}
			if diff := compare(t, expand(r.answer), got.body); diff != "" {
				t.Errorf("answered %s\n(-want +got):\n%s", got.body, diff)
			}
			for _, h := range r.says {
				name, value, _ := strings.Cut(h, ": ")
				if have := got.header.Get(name); have != value {
					t.Errorf("header %s: %q, want %q", name, have, value)
				}
			}
		})
	}
}

type got struct {
	status int
	header http.Header
	body   string
}

// do sends a request as the platform cf does and checks what must hold for
// every answer.
func (w *wire) do(t testing.TB, send string, with []string, body string) got {
	t.Helper()
	method, target, _ := strings.Cut(send, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.SetBasicAuth("cf", "cf-password")
	r.Header.Set("X-Broker-API-Version", "2.17")
	r.Header.Set("X-Broker-API-Request-Identity", "request-1")
	for _, h := range with {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Del(name)
		if value = strings.TrimPrefix(value, " "); value != "" {
			r.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultTransport.RoundTrip(r) // a client would follow redirects
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	g := got{answer.StatusCode, answer.Header, strings.TrimSuffix(string(read), "\n")}
	checkAnswer(t, r, g)
	return g
}

// checkAnswer holds for every request: the request's identity is echoed, and the
// body is JSON, that of an error with a code that platforms know or none.
func checkAnswer(t testing.TB, r *http.Request, g got) {
	t.Helper()
	want := r.Header.Get("X-Broker-API-Request-Identity")
	if have := g.header.Get("X-Broker-API-Request-Identity"); have == "" || want != "" && have != want {
		t.Errorf("request identity %q, want %q", have, want)
	}
	if r.Method == http.MethodHead || g.status == http.StatusNotModified {
		return
	}
	if kind := g.header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("content type %q", kind)
	}
	if g.status < 400 {
		return
	}
	var problem struct {
		Error       *string `json:"error"`
		Description *string `json:"description"`
	}
	if err := json.Unmarshal([]byte(g.body), &problem); err != nil || problem.Description == nil || *problem.Description == "" {
		t.Errorf("an error without a description: %s", g.body)
	}
	if problem.Error == nil {
		return
	}
	switch *problem.Error {
	case "AsyncRequired", "ConcurrencyError", "RequiresApp", "MaintenanceInfoConflict":
	default:
		t.Errorf("the specification has no error code %q", *problem.Error)
	}
}

// compare tells how an answer's body differs from what is wanted.
func compare(t *testing.T, want, got string) string {
	t.Helper()
	if want == "" || got == "" {
		return cmp.Diff(want, got)
	}
	var x, y any
	if err := json.Unmarshal([]byte(want), &x); err != nil {
		t.Fatalf("the test wants what is not JSON: %s", want)
	}
	if err := json.Unmarshal([]byte(got), &y); err != nil {
		t.Fatalf("the answer is not JSON: %s", got)
	}
	return cmp.Diff(x, y, cmp.FilterValues(func(a, b any) bool {
		_, okA := a.(string)
		_, okB := b.(string)
		return okA && okB
	}, cmp.Comparer(func(a, b any) bool {
		s, u := fmt.Sprint(a), fmt.Sprint(b)
		return s == u || like(s, u) || like(u, s)
	})))
}

func like(pattern, text string) bool {
	if pattern == "*" {
		return text != ""
	}
	part, ok := strings.CutPrefix(pattern, "~")
	return ok && strings.Contains(text, part)
}
