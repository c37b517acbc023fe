package openwhisk_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"

	"github.com/chandler-broker/chandler/functions/state"
)

// Nothing of a namespace is another one's to see, use or change.
func TestIsolation(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	owner, other := s.tenant("owner", plan()), s.tenant("other", plan())
	for _, c := range []*client{owner, other} {
		c.must(200, "PUT", "packages/p", `{"parameters":[{"key":"secret","value":"of `+c.namespace+`"}]}`)
		c.action("a", "echo", `"parameters":[{"key":"secret","value":"of `+c.namespace+`"}]`)
		c.action("p/a", "echo")
		c.sequence("s", "/_/a")
		c.must(200, "PUT", "triggers/t", `{"parameters":[{"key":"secret","value":"of `+c.namespace+`"}]}`)
		c.must(200, "PUT", "rules/r", `{"trigger":"/_/t","action":"/_/a"}`)
	}
	id := owner.must(200, "POST", "actions/a?blocking=true", "").json(t)["activationId"].(string)
	other.must(404, "GET", "activations/"+id, "")
	if got := len(other.must(200, "GET", "activations", "").list(t)); got != 0 {
		t.Errorf("%d activations of another namespace", got)
	}
	calls := r.count()
	for _, request := range []string{
		"GET actions", "GET actions/a", "GET actions/none", "PUT actions/a?overwrite=true", "PUT actions/new", "DELETE actions/a", "POST actions/a", "POST actions/none",
		"GET actions/p/", "GET actions/p/a", "PUT actions/p/a?overwrite=true", "DELETE actions/p/a", "POST actions/p/a", "POST actions/none/a", "POST actions/s",
		"GET packages/p", "GET packages/none", "PUT packages/p?overwrite=true", "PUT packages/new", "DELETE packages/p",
		"GET triggers", "GET triggers/t", "PUT triggers/t?overwrite=true", "PUT triggers/new", "DELETE triggers/t", "POST triggers/t", "POST triggers/none",
		"GET rules", "GET rules/r", "PUT rules/r?overwrite=true", "PUT rules/new", "DELETE rules/r", "POST rules/r",
		"GET activations", "GET activations/" + id, "GET activations/" + id + "/logs", "GET activations/" + id + "/result", "GET limits",
	} {
		method, path, _ := strings.Cut(request, " ")
		got := other.call(method, "/api/v1/namespaces/owner/"+path, `{"exec":{"kind":"nodejs:default","code":"echo"},"status":"inactive"}`)
		if got.status != 403 || strings.Contains(string(got.body), "secret") {
			t.Errorf("%s: %d %s", request, got.status, got.body)
		}
	}
	if got := other.call("GET", "/api/v1/namespaces/owner/packages", ""); got.status != 200 || string(got.body) != "[]\n" {
		t.Errorf("packages that are not public: %d %s", got.status, got.body)
	}
	for what, got := range map[string]reply{
		"bind":     other.do("PUT", "packages/b", `{"binding":{"namespace":"owner","name":"p"}}`),
		"sequence": other.sequence("steal", "/owner/a"),
		"packaged": other.sequence("steal", "/owner/p/a"),
		"action":   other.do("PUT", "rules/steal", `{"trigger":"/_/t","action":"/owner/a"}`),
		"trigger":  other.do("PUT", "rules/steal", `{"trigger":"/owner/t","action":"/_/a"}`),
	} {
		if got.status != 403 {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	if r.count() != calls {
		t.Error("an action of another namespace ran")
	}
	same(t, "owner's action", owner.must(200, "GET", "actions/a", "").json(t)["version"], `"0.0.1"`)
	same(t, "owner's rule", owner.must(200, "GET", "rules/r", "").json(t)["status"], `"active"`)
}

// A package that is made public is others' to read and invoke, in their own name,
// until it is public no more; and never theirs to change.
func TestPublicPackage(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	owner, other := s.tenant("owner", plan()), s.tenant("other", plan())
	owner.must(200, "PUT", "packages/p", `{"publish":true,"parameters":[{"key":"shared","value":1}]}`)
	owner.action("p/a", "echo", `"annotations":[{"key":"provide-api-key","value":true}]`)
	other.must(200, "PUT", "packages/b", `{"binding":{"namespace":"owner","name":"p"},"parameters":[{"key":"mine","value":2}]}`)
	invoke := func(path string) reply {
		return other.call("POST", "/api/v1/namespaces/"+path+"?blocking=true", `{"x":3}`)
	}
	for path, want := range map[string]string{"owner/actions/p/a": `{"shared":1,"x":3}`, "_/actions/b/a": `{"shared":1,"mine":2,"x":3}`} {
		got := invoke(path)
		if got.status != 200 {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		same(t, path, got.json(t)["response"].(map[string]any)["result"], want)
		same(t, "whose activation", got.json(t)["namespace"], `"other"`)
		if env := r.last().Env; env["__OW_NAMESPACE"] != "other" || env["__OW_ACTION_NAME"] != "/owner/p/a" {
			t.Errorf("environment %v", env)
		}
		user, key, _ := strings.Cut(r.last().Env["__OW_API_KEY"], ":")
		inner := &client{server: s, user: user, key: key}
		same(t, "whose key", inner.call("GET", "/api/v1/namespaces", "").any(t), `["other"]`)
	}
	if got := len(owner.must(200, "GET", "activations", "").list(t)); got != 0 {
		t.Errorf("the owner sees %d activations of the other", got)
	}
	same(t, "listed", len(other.call("GET", "/api/v1/namespaces/owner/packages", "").list(t)), "1")
	for _, method := range []string{"PUT", "DELETE"} {
		if got := other.call(method, "/api/v1/namespaces/owner/actions/p/a?overwrite=true", "{}"); got.status != 403 {
			t.Errorf("%s: %d", method, got.status)
		}
	}
	owner.must(200, "PUT", "packages/p?overwrite=true", `{"publish":false}`)
	for _, path := range []string{"owner/actions/p/a", "_/actions/b/a"} {
		if got := invoke(path); got.status != 403 {
			t.Errorf("%s, public no more: %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{"owner/packages/p", "_/packages/b", "_/actions/b/a", "owner/actions/p/"} {
		if got := other.call("GET", "/api/v1/namespaces/"+path, ""); got.status != 403 {
			t.Errorf("%s, public no more: %d", path, got.status)
		}
	}
}

// What applications trust their functions with is sealed in the database, and
// stays out of logs.
func TestSecretsAreSealed(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	const secret = "hunter2-is-no-password"
	parameters := `"parameters":[{"key":"password","value":"` + secret + `"}]`
	c.action("a", "break", parameters, `"annotations":[{"key":"provide-api-key","value":true}]`)
	c.must(200, "PUT", "packages/p", "{"+parameters+"}")
	c.must(200, "PUT", "triggers/t", "{"+parameters+"}")
	c.must(500, "POST", "actions/a?blocking=true", `{"p":"`+secret+`"}`)
	c.do("PUT", "actions/b", `{"exec":"`+secret+`"}`)
	c.must(200, "GET", "activations", "")
	var dump string
	err := s.store.Pool.QueryRow(t.Context(), `select query_to_xml('select * from actions', true, true, '')::text || query_to_xml('select * from packages', true, true, '')::text ||
		query_to_xml('select * from triggers', true, true, '')::text || query_to_xml('select * from activations', true, true, '')::text ||
		query_to_xml('select convert_from(result, ''UTF8'') || convert_from(annotations, ''UTF8'') from activations', true, true, '')::text ||
		query_to_xml('select * from keys', true, true, '')::text`).Scan(&dump)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"the database": dump, "the log": s.logs.String()} {
		if strings.Contains(text, secret) || strings.Contains(text, c.key) {
			t.Errorf("%s has a secret: %s", what, text)
		}
	}
	if !strings.Contains(s.logs.String(), "activation failed") {
		t.Error("the failure was not logged")
	}
	// a row's parameters are good in their place only
	if _, err := s.store.Pool.Exec(t.Context(), "update actions set parameters = (select parameters from packages limit 1)"); err != nil {
		t.Fatal(err)
	}
	if got := c.do("GET", "actions/a", ""); got.status != 500 || strings.Contains(string(got.body), secret) {
		t.Errorf("parameters of somewhere else: %d %s", got.status, got.body)
	}
}

// A namespace that is deprovisioned takes all that is its own with it.
func TestNothingIsLeft(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	c := s.tenant("ns", plan())
	c.must(200, "PUT", "packages/p", "{}")
	c.action("p/a", "echo")
	c.action("w", "wait")
	c.must(200, "PUT", "triggers/t", "{}")
	c.must(200, "PUT", "rules/r", `{"trigger":"/_/t","action":"/_/p/a"}`)
	c.must(200, "POST", "actions/p/a?blocking=true", "")
	c.must(202, "POST", "actions/w", "")
	eventually(t, "it runs", func() bool { return r.count() == 2 })
	if err := s.store.DeleteNamespace(t.Context(), s.store.Pool, state.DeleteNamespaceParams{Channel: state.NamespaceEnded, Name: "ns"}); err != nil {
		t.Fatal(err)
	}
	close(r.hold) // an activation ends after its namespace
	c2 := s.tenant("later", plan())
	c2.action("a", "echo")                              // the same code as that of one that is gone
	c2.must(200, "POST", "actions/a?blocking=true", "") // is recorded after the other
	c2.must(200, "GET", "activations", "")
	for _, table := range []string{"keys", "packages", "actions", "triggers", "rules", "activations"} {
		var left int
		if err := s.store.Pool.QueryRow(t.Context(), "select count(*) from "+table+" where namespace = 'ns'").Scan(&left); err != nil || left > 0 {
			t.Errorf("%s: %d left, %v", table, left, err)
		}
	}
	unused, err := s.store.UnusedCode(t.Context(), s.store.Pool, r.prepared)
	if err != nil || len(unused) != 1 {
		t.Errorf("code that nobody has: %v, %v", unused, err)
	}
}

// Whoever has a key can break neither it nor another binding's: whatever the API
// serves leaves the keys as they are.
func TestKeysCannotBeBroken(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	second := s.bind("ns", "second", state.Invoke)
	keys := func() (rows []string) {
		t.Helper()
		found, err := s.store.Pool.Query(t.Context(), "select row_to_json(k)::text from keys k order by binding")
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			var row string
			if err := found.Scan(&row); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		return rows
	}
	before := keys()
	var paths []string
	err := s.api.Handler().(*mux.Router).Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		paths = append(paths, strings.NewReplacer("{end:/?}", "", "{namespace}", "_", "{package}", "p", "{name}", "second", "{id}", strings.Repeat("0", 32)).Replace(path))
		return err
	})
	if err != nil || len(paths) < 15 {
		t.Fatal(paths, err)
	}
	for _, path := range append(paths, "/api/v1/namespaces/_", "/api/v1/namespaces/_/keys/second", "/api/v1/keys/"+c.user) {
		for _, method := range []string{"GET", "PUT", "POST", "PATCH", "DELETE"} {
			c.call(method, path+"?overwrite=true&force=true", `{"exec":{"kind":"nodejs:default","code":"echo"},"key":"mine","role":"read_write","status":"active"}`)
		}
	}
	if diff := cmp.Diff(before, keys()); diff != "" {
		t.Errorf("keys (-before +after):\n%s", diff)
	}
	for _, key := range []*client{c, second} {
		key.must(200, "GET", "actions", "")
	}
}

// A large deployment that comes in slowly delays no small one.
func TestSlowUpload(t *testing.T) {
	s := newServer(t, newRunner())
	slow, other := s.tenant("slow", plan()), s.tenant("other", plan())
	body, end := io.Pipe()
	request := s.request("PUT", "/api/v1/namespaces/_/actions/a", "")
	request.SetBasicAuth(slow.user, slow.key)
	request.Body, request.ContentLength = body, 90<<20
	begun := make(chan struct{})
	go func() {
		_, _ = end.Write([]byte("{")) // somebody reads it
		close(begun)
	}()
	answered := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(request)
		if err == nil {
			err = response.Body.Close()
		}
		answered <- err
	}()
	<-begun
	begin := time.Now()
	defer time.AfterFunc(generous/5, func() { _ = end.CloseWithError(io.ErrUnexpectedEOF) }).Stop()
	other.action("a", "echo")
	if took := time.Since(begin); took > generous/10 {
		t.Errorf("a deployment waited %s for another one", took)
	}
	_ = end.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-answered; err == nil {
		t.Log("the server answered the one that broke off")
	}
}
