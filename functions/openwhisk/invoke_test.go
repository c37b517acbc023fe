package openwhisk_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/functions/openwhisk"
	"github.com/chandler-broker/chandler/functions/state"
)

// A blocking invocation returns the record or only the result, and the stored record is
// the same.
func TestInvoke(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	for name, test := range map[string]struct {
		code   string
		status int
		result string
		ended  string
	}{
		"success":           {`answer {"a":[1.50,"<é>"]}`, 200, `{"a":[1.50,"<é>"]}`, "success"},
		"application error": {`fail {"error":{"statusCode":404}}`, 502, `{"error":{"statusCode":404}}`, "application error"},
		"developer error":   {"crash", 502, `{"error":"it crashed"}`, "action developer error"},
		"internal error":    {"lose", 500, `{"error":"the worker died"}`, "whisk internal error"},
		"no sandbox":        {"break", 500, `{"error":"The action could not be run."}`, "whisk internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			c.action("a", test.code)
			only := c.must(test.status, "POST", "actions/a?blocking=true&result=true", "")
			if got := strings.TrimSpace(string(only.body)); got != test.result {
				t.Errorf("result %s, want %s", got, test.result)
			}
			whole := c.must(test.status, "POST", "actions/a?blocking=true", "{}")
			record := whole.json(t)
			response := record["response"].(map[string]any)
			if _, coded := record["code"]; coded || response["status"] != test.ended || response["success"] != (test.status == 200) {
				t.Errorf("%s", whole.body)
			}
			id, _ := record["activationId"].(string)
			if len(id) != 32 || whole.header.Get("X-OpenWhisk-Activation-Id") != id {
				t.Errorf("activation %q, header %q", id, whole.header.Get("X-OpenWhisk-Activation-Id"))
			}
			same(t, "at once", c.must(200, "GET", "activations/"+id, "").json(t), string(whole.body))
			c.must(200, "GET", "activations", "") // has it written
			same(t, "from the database", c.must(200, "GET", "activations/"+id, "").json(t), string(whole.body))
			same(t, "result", c.must(200, "GET", "activations/"+id+"/result", "").json(t), `{"result":`+test.result+`,"status":"`+test.ended+`","success":`+strconv.FormatBool(test.status == 200)+`}`, "size")
		})
	}
}

// The record of an activation has OpenWhisk's shape, its annotations and its log.
func TestRecord(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	c.must(200, "PUT", "packages/p", "{}")
	c.action("p/a", "log")
	before := time.Now().UnixMilli()
	got := c.must(200, "POST", "actions/p/a?blocking=true", `{"x":1}`).json(t)
	start, end := got["start"].(float64), got["end"].(float64)
	if start < float64(before) || end-start < 9 || got["duration"].(float64) != 9 {
		t.Errorf("start %v, end %v, duration %v", start, end, got["duration"])
	}
	same(t, "record", got, `{"namespace":"ns","name":"a","version":"0.0.1","publish":false,"subject":"binding-of-ns",
		"annotations":[{"key":"path","value":"ns/p/a"},{"key":"kind","value":"nodejs:default"},
			{"key":"limits","value":{"timeout":60000,"memory":256,"logs":10,"concurrency":1}},{"key":"waitTime","value":1},{"key":"initTime","value":7}],
		"response":{"result":{"x":1},"status":"success","success":true,"size":7},"duration":9,
		"logs":["2026-01-02T03:04:05.000000006Z stdout: one","2026-01-02T03:04:05.000000006Z stderr: two"]}`, "activationId", "start", "end")
	id := got["activationId"].(string)
	same(t, "logs", c.must(200, "GET", "activations/"+id+"/logs", "").json(t),
		`{"logs":["2026-01-02T03:04:05.000000006Z stdout: one","2026-01-02T03:04:05.000000006Z stderr: two"]}`)
	same(t, "listed", c.must(200, "GET", "activations?name=p/a", "").list(t)[0], `{"namespace":"ns","name":"a","version":"0.0.1","publish":false,
		"subject":"binding-of-ns","duration":9,"statusCode":0,
		"annotations":[{"key":"path","value":"ns/p/a"},{"key":"kind","value":"nodejs:default"},
			{"key":"limits","value":{"timeout":60000,"memory":256,"logs":10,"concurrency":1}},{"key":"waitTime","value":1},{"key":"initTime","value":7}]}`, "activationId", "start", "end")
	full := c.must(200, "GET", "activations?docs=true", "").list(t)
	same(t, "listed whole", full[0], string(c.must(200, "GET", "activations/"+id, "").body))
	s.mu.Lock()
	defer s.mu.Unlock()
	want := openwhisk.Observation{Namespace: "ns", Plan: "wasm-test", Kind: "nodejs:default", Status: "success", Ran: true, Cold: true,
		Wait: time.Millisecond, Init: 7 * time.Millisecond, Duration: 9 * time.Millisecond}
	if len(s.observed) != 1 || s.observed[0] != want {
		t.Errorf("observed %+v", s.observed)
	}
}

// The list of activations can be filtered.
func TestActivationFilters(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.action("a", "echo")
	c.action("b", "echo")
	var starts []float64
	for _, name := range []string{"a", "b", "a"} {
		starts = append(starts, c.must(200, "POST", "actions/"+name+"?blocking=true", "").json(t)["start"].(float64))
		time.Sleep(3 * time.Millisecond) // starts differ by a millisecond
	}
	for query, want := range map[string]int{
		"": 3, "name=a": 2, "name=b": 1, "name=c": 0, "limit=1": 1, "skip=2": 1,
		"since=" + millis(starts[1]): 2, "upto=" + millis(starts[0]): 1, "since=" + millis(starts[1]) + "&upto=" + millis(starts[1]): 1, "name=a&since=" + millis(starts[2]): 1,
	} {
		if got := c.must(200, "GET", "activations?"+query, "").list(t); len(got) != want {
			t.Errorf("%s: %d, want %d", query, len(got), want)
		}
	}
	same(t, "count", c.must(200, "GET", "activations?count=true&name=a", "").json(t), `{"activations":2}`)
}

func millis(ms float64) string { return strconv.FormatInt(int64(ms), 10) }

// A caller that does not wait long enough gets 202 and an ID. The record exists only after
// the action has ended.
func TestNotBlocking(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	c.action("a", "wait")
	var ids []string
	for _, query := range []string{"", "?blocking=false&result=true", "?blocking=true&timeout=1"} {
		got := c.must(202, "POST", "actions/a"+query, `{"n":1}`)
		id, _ := got.json(t)["activationId"].(string)
		if len(got.json(t)) != 1 || got.header.Get("X-OpenWhisk-Activation-Id") != id {
			t.Errorf("%s: %s", query, got.body)
		}
		ids = append(ids, id)
		c.must(404, "GET", "activations/"+id, "")
	}
	if got := c.must(200, "GET", "activations", "").list(t); len(got) > 0 {
		t.Errorf("activations that run are listed: %v", got)
	}
	close(r.hold)
	for _, id := range ids {
		eventually(t, "the record", func() bool { return c.do("GET", "activations/"+id, "").status == 200 })
		same(t, "its result", c.must(200, "GET", "activations/"+id+"/result", "").json(t)["result"], `{"n":1}`)
	}
	for _, wait := range []string{"0", "60001", "x", "-1"} {
		if got := c.must(400, "POST", "actions/a?blocking=true&timeout="+wait, ""); messageOf(t, got) != "Timeout must be number of milliseconds up to 60000." {
			t.Errorf("%s: %s", wait, got.body)
		}
	}
}

// A disconnected client does not end its activation.
func TestClientGone(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	c.action("a", "wait")
	request := c.request("POST", "/api/v1/namespaces/_/actions/a?blocking=true", "{}")
	request.SetBasicAuth(c.user, c.key)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		eventually(t, "the action", func() bool { return r.count() == 1 })
		cancel()
	}()
	if response, err := http.DefaultTransport.RoundTrip(request.WithContext(ctx)); err == nil {
		response.Body.Close()
		t.Fatal("it was answered")
	}
	close(r.hold)
	eventually(t, "the record", func() bool { return len(c.must(200, "GET", "activations", "").list(t)) == 1 })
}

// Parameters of package, action and invocation are merged, in this order; those
// of the action are final where it says so.
func TestParameters(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	c.must(200, "PUT", "packages/p", `{"parameters":[{"key":"a","value":1},{"key":"b","value":1},{"key":"c","value":1},{"key":"secret","value":"s","init":true}]}`)
	c.must(200, "PUT", "packages/q", `{"binding":{"namespace":"_","name":"p"},"parameters":[{"key":"b","value":2},{"key":"q","value":2}]}`)
	c.action("p/x", "echo", `"parameters":[{"key":"c","value":3},{"key":"n","value":null},{"key":"big","value":12345678901234567890.123}]`)
	result := func(action, payload string) map[string]any {
		t.Helper()
		return c.must(200, "POST", "actions/"+action+"?blocking=true&result=true", payload).json(t)
	}
	same(t, "through the package", result("p/x", `{"d":4}`), `{"a":1,"b":1,"c":3,"d":4,"n":null,"big":12345678901234567890.123}`)
	same(t, "through the binding", result("q/x", `{"c":4}`), `{"a":1,"b":2,"c":4,"q":2,"n":null,"big":12345678901234567890.123}`)
	if r.last().Env["secret"] != "s" {
		t.Errorf("environment: %v", r.last().Env)
	}
	if raw := string(r.last().Input); !strings.Contains(raw, "12345678901234567890.123") {
		t.Errorf("a number was changed: %s", raw)
	}
	same(t, "read through the binding", c.must(200, "GET", "actions/q/x", "").json(t)["parameters"], `[{"key":"a","value":1},{"key":"b","value":2},{"key":"c","value":3},
		{"key":"secret","value":"s","init":true},{"key":"q","value":2},{"key":"n","value":null},{"key":"big","value":12345678901234567890.123}]`)
	c.action("p/x", "echo", `"annotations":[{"key":"final","value":true}]`)
	if got := c.must(400, "POST", "actions/p/x", `{"a":2}`); messageOf(t, got) != "Request defines parameters that are not allowed (e.g., reserved properties)." {
		t.Errorf("%s", got.body)
	}
	c.must(200, "POST", "actions/p/x?blocking=true", `{"n":2,"new":1}`) // null may be filled in
}

// Parameters can be any JSON, and arrive unchanged.
func TestOddParameters(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	deep := strings.Repeat("[", 9900) + strings.Repeat("]", 9900)
	for name, value := range map[string]string{
		"NUL": `"\u0000"`, "lone surrogate": `"\ud800"`, "huge number": `1e999`, "deep": deep,
	} {
		t.Run(name, func(t *testing.T) {
			c.action("a", "echo", `"parameters":[{"key":"p","value":`+value+`},{"key":"a=b","value":"x","init":true},{"key":"init","value":`+value+`,"init":true}]`,
				`"annotations":[{"key":"x","value":`+value+`}]`)
			c.must(200, "GET", "actions/a", "")
			c.must(200, "GET", "actions", "")
			c.must(200, "POST", "actions/a?blocking=true", `{"q":`+value+`}`)
			if want := `{"p":` + value + `,"q":` + value + `}`; string(r.last().Input) != want {
				t.Errorf("%.100s, want %.100s", r.last().Input, want)
			}
			for key, value := range r.last().Env {
				if strings.ContainsAny(key, "=\x00") || strings.Contains(value, "\x00") {
					t.Errorf("environment %q=%.100q", key, value)
				}
			}
		})
	}
	c.must(200, "POST", "actions/a?blocking=true", "null")
	c.sequence("s", "/_/a")
	c.must(200, "POST", "actions/s?blocking=true", "null")
}

// The action knows who and what it is, and gets a key only where it asks for one:
// to its own namespace, for as long as it may run.
func TestEnvironment(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	c := s.tenant("ns", plan())
	c.action("a", "env", `"limits":{"timeout":5000}`, `"parameters":[{"key":"__OW_API_KEY","value":"mine","init":true}]`)
	env := c.must(200, "POST", "actions/a?blocking=true", "").json(t)
	id := env["activationId"].(string)
	result := env["response"].(map[string]any)["result"].(map[string]any)
	same(t, "environment", result, `{"__OW_API_HOST":"`+s.url+`","__OW_NAMESPACE":"ns","__OW_ACTION_NAME":"/ns/a","__OW_ACTION_VERSION":"0.0.1","__OW_ACTIVATION_ID":"`+id+`"}`,
		"__OW_DEADLINE", "__OW_TRANSACTION_ID")
	if l := r.last().Limits; l.Timeout != 5*time.Second || l.Memory != 256<<20 || l.LogBytes != 10<<20 || l.ResultBytes != 1<<20 {
		t.Errorf("limits %+v", l)
	}
	c.action("a", "env", `"annotations":[{"key":"provide-api-key","value":true}]`)
	c.must(200, "POST", "actions/a?blocking=true", "")
	user, token, _ := strings.Cut(r.last().Env["__OW_API_KEY"], ":")
	inner := &client{server: s, namespace: "ns", user: user, key: token}
	inner.must(200, "GET", "actions/a", "")
	inner.must(200, "POST", "actions/a?blocking=true", "")
	same(t, "on whose behalf", inner.must(200, "POST", "actions/a?blocking=true", "").json(t)["subject"], `"binding-of-ns"`)
	for name, key := range map[string]string{
		"another namespace": strings.Replace(token, "ns.", "other.", 1), "no mac": "ns.binding-of-ns.zzzzzzzz.", "cut": token[:len(token)-4], "nothing": "",
	} {
		if got := (&client{server: s, user: user, key: key}).do("GET", "actions", ""); got.status != 401 {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	if err := s.store.DeleteKey(t.Context(), s.store.Pool, state.DeleteKeyParams{Namespace: c.namespace, Binding: c.binding}); err != nil {
		t.Fatal(err)
	}
	if got := inner.do("GET", "actions", ""); got.status != 401 {
		t.Errorf("after the binding's end: %d", got.status)
	}
}

// A request needs a valid key, and a key of role invoke cannot change anything.
func TestKeys(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	c.action("a", "echo")
	c.must(200, "PUT", "triggers/t", "{}")
	c.must(200, "PUT", "rules/r", `{"trigger":"/_/t","action":"/_/a"}`)
	same(t, "namespaces", c.call("GET", "/api/v1/namespaces", "").any(t), `["ns"]`)
	if got := s.do(s.request("GET", "/api/v1/namespaces/_/actions", "")); got.status != 401 || got.header.Get("WWW-Authenticate") == "" ||
		messageOf(t, got) != "The resource requires authentication, which was not supplied with the request" {
		t.Errorf("no key: %d %s", got.status, got.body)
	}
	for name, wrong := range map[string]client{
		"wrong key": {user: c.user, key: c.key + "x"}, "no key": {user: c.user}, "no uuid": {user: "admin", key: c.key},
		"a uuid without dashes": {user: strings.ReplaceAll(c.user, "-", ""), key: c.key}, "a urn": {user: "urn:uuid:" + c.user, key: c.key},
	} {
		wrong.server = s
		for _, path := range []string{"GET actions", "POST actions/a", "PUT actions/b", "POST triggers/t"} {
			method, path, _ := strings.Cut(path, " ")
			if got := wrong.do(method, path, "{}"); got.status != 401 || messageOf(t, got) != "The supplied authentication is invalid" {
				t.Errorf("%s, %s: %d %s", name, path, got.status, got.body)
			}
		}
	}
	caller := s.bind("ns", "caller", state.Invoke)
	for path, want := range map[string]int{
		"GET actions": 200, "GET actions/a": 200, "POST actions/a": 202, "POST triggers/t": 202, "GET activations": 200, "GET rules/r": 200,
		"PUT actions/a?overwrite=true": 403, "DELETE actions/a": 403, "PUT packages/p": 403, "DELETE packages/p": 403, "PUT triggers/t": 403, "DELETE triggers/t": 403,
		"PUT rules/r": 403, "POST rules/r": 403, "DELETE rules/r": 403,
	} {
		method, path, _ := strings.Cut(path, " ")
		if got := caller.do(method, path, "{}"); got.status != want {
			t.Errorf("role invoke, %s %s: %d, want %d", method, path, got.status, want)
		}
	}
	if got := caller.call("POST", "/api/v1/namespaces/whisk.system/actions/alarms/alarm", "{}"); got.status != 403 {
		t.Errorf("role invoke, a feed: %d", got.status)
	}
	if err := s.store.DeleteKey(t.Context(), s.store.Pool, state.DeleteKeyParams{Namespace: c.namespace, Binding: c.binding}); err != nil {
		t.Fatal(err)
	}
	if got := c.do("GET", "actions", ""); got.status != 401 {
		t.Errorf("a key that was revoked: %d", got.status)
	}
	caller.must(200, "GET", "actions", "")
	if _, err := s.store.EndNamespace(t.Context(), s.store.Pool, state.EndNamespaceParams{Channel: state.NamespaceEnded, Name: "ns"}); err != nil {
		t.Fatal(err)
	}
	if got := caller.do("POST", "actions/a", ""); got.status != 401 {
		t.Errorf("a namespace that is ending: %d", got.status)
	}
}
