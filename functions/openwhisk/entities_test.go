package openwhisk_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/functions/feed"
)

// A package and a binding to it are created, read, changed and deleted.
func TestPackages(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	made := `{"namespace":"ns","name":"p","version":"0.0.1","publish":false,"binding":{},"annotations":[{"key":"a","value":1}],"parameters":[{"key":"x","value":1}]}`
	same(t, "made", c.must(200, "PUT", "packages/p", `{"annotations":[{"key":"a","value":1}],"parameters":[{"key":"x","value":1}]}`).json(t), made, "updated")
	c.action("p/a", "echo", `"annotations":[{"key":"d","value":"x"}]`)
	c.action("p/f", "echo", `"annotations":[{"key":"feed","value":true}]`)
	action := `{"name":"a","version":"0.0.1","annotations":[{"key":"d","value":"x"},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:default"}]}`
	feedAction := `{"name":"f","version":"0.0.1","annotations":[{"key":"feed","value":true},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:default"}]}`
	same(t, "read", c.must(200, "GET", "packages/p", "").json(t), made[:len(made)-1]+`,"actions":[`+action+`],"feeds":[`+feedAction+`]}`, "updated")
	same(t, "bound", c.must(200, "PUT", "packages/b", `{"binding":{"namespace":"_","name":"p"},"parameters":[{"key":"y","value":2}]}`).json(t),
		`{"namespace":"ns","name":"b","version":"0.0.1","publish":false,"binding":{"namespace":"ns","name":"p"},
		"annotations":[{"key":"binding","value":{"namespace":"ns","name":"p"}}],"parameters":[{"key":"y","value":2}]}`, "updated")
	same(t, "the binding inherits", c.must(200, "GET", "packages/b", "").json(t),
		`{"namespace":"ns","name":"b","version":"0.0.1","publish":false,"binding":{"namespace":"ns","name":"p"},
		"annotations":[{"key":"binding","value":{"namespace":"ns","name":"p"}}],"parameters":[{"key":"x","value":1},{"key":"y","value":2}],
		"actions":[`+action+`],"feeds":[`+feedAction+`]}`, "updated")
	list := c.must(200, "GET", "packages", "").list(t)
	same(t, "listed", []any{list[0]["binding"], list[1]["binding"]}, `[{"namespace":"ns","name":"p"},false]`)
	same(t, "actions of the binding", c.must(200, "GET", "actions/b/", "").list(t)[0]["namespace"], `"ns/p"`)
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		message            string
	}{
		"made again":           {"PUT", "packages/p", `{}`, 409, "resource already exists"},
		"reserved":             {"PUT", "packages/default", `{}`, 400, "Package name 'default' is reserved."},
		"becomes a binding":    {"PUT", "packages/p?overwrite=true", `{"binding":{"namespace":"_","name":"p"}}`, 409, "Resource is a package and cannot be converted into a binding."},
		"binding to nothing":   {"PUT", "packages/c", `{"binding":{"namespace":"_","name":"none"}}`, 400, "Binding references a package that does not exist."},
		"binding to a binding": {"PUT", "packages/c", `{"binding":{"namespace":"_","name":"b"}}`, 400, "Cannot bind to another package binding."},
		"binding to an action": {"PUT", "packages/c", `{"binding":{"namespace":"_","name":"x"}}`, 409, "Cannot bind to a resource that is not a package."},
		"name of an action":    {"PUT", "packages/x", `{}`, 409, "Resource by this name exists but is not in this collection."},
		"not empty":            {"DELETE", "packages/p", ``, 409, "Package not empty (contains 2 entities)"},
		"delete in a binding":  {"DELETE", "actions/b/a", ``, 400, "Operation not permitted on package binding."},
		"an action instead":    {"GET", "packages/x", ``, 409, "Resource by this name exists but is not in this collection."},
		"a package instead":    {"GET", "actions/p", ``, 409, "Resource by this name exists but is not in this collection."},
		"not there":            {"GET", "packages/none", ``, 404, "The requested resource does not exist."},
		"fired":                {"POST", "packages/p", ``, 405, "HTTP method not allowed for this resource."},
	} {
		if name == "binding to an action" {
			c.action("x", "echo")
		}
		t.Run(name, func(t *testing.T) {
			c.action("x", "echo")
			got := c.do(test.method, test.path, test.body)
			if got.status != test.status || messageOf(t, got) != test.message {
				t.Errorf("%d %q", got.status, messageOf(t, got))
			}
		})
	}
	same(t, "changed", c.must(200, "PUT", "packages/p?overwrite=true", `{"publish":true,"annotations":[]}`).json(t)["version"], `"0.0.2"`)
	c.must(200, "DELETE", "packages/b", "")
	c.must(200, "DELETE", "actions/p/a", "")
	c.must(200, "DELETE", "actions/p/f", "")
	same(t, "deleted", c.must(200, "DELETE", "packages/p", "").json(t)["version"], `"0.0.2"`)
}

// Packages and bindings that were deleted and created again in another role lead to no
// action and to no cycle.
func TestPackagesInACircle(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.must(200, "PUT", "packages/a", "{}")
	c.must(200, "PUT", "packages/b", `{"binding":{"namespace":"_","name":"a"}}`)
	c.must(200, "DELETE", "packages/a", "")
	c.must(404, "GET", "packages/b", "")
	c.must(404, "POST", "actions/b/x", "")
	c.must(200, "PUT", "packages/c", "{}")
	c.must(200, "PUT", "packages/a", `{"binding":{"namespace":"_","name":"c"}}`)
	c.must(404, "GET", "packages/b", "")
	c.must(404, "GET", "actions/b/x", "")
	c.must(404, "POST", "actions/b/x", "")
}

// Triggers and rules are created, read, changed and deleted.
func TestTriggersAndRules(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.must(200, "PUT", "packages/p", "{}")
	c.action("p/a", "echo")
	c.action("b", "echo")
	trigger := `{"namespace":"ns","name":"t","version":"0.0.1","publish":false,"annotations":[{"key":"feed","value":"/whisk.system/alarms/alarm"}],
		"parameters":[{"key":"x","value":1}],"limits":{},"rules":{}}`
	same(t, "made", c.must(200, "PUT", "triggers/t", `{"name":"t","annotations":[{"key":"feed","value":"/whisk.system/alarms/alarm"}],"parameters":[{"key":"x","value":1}]}`).json(t), trigger, "updated")
	rule := `{"namespace":"ns","name":"r","version":"0.0.1","publish":false,"annotations":[],"status":"active",
		"trigger":{"path":"ns","name":"t"},"action":{"path":"ns/p","name":"a"}}`
	same(t, "rule", c.must(200, "PUT", "rules/r", `{"trigger":"/_/t","action":{"path":"_/p","name":"a"},"status":""}`).json(t), rule, "updated")
	same(t, "read", c.must(200, "GET", "rules/r", "").json(t), rule, "updated")
	same(t, "listed", c.must(200, "GET", "rules", "").list(t)[0], rule, "updated")
	rules := func() any { t.Helper(); return c.must(200, "GET", "triggers/t", "").json(t)["rules"] }
	same(t, "its trigger", rules(), `{"ns/r":{"action":{"path":"ns/p","name":"a"},"status":"active"}}`)
	for _, status := range []string{"inactive", "inactive", "active", "active", "inactive"} {
		c.must(200, "POST", "rules/r", `{"status":"`+status+`"}`)
		same(t, status, c.must(200, "GET", "rules/r", "").json(t)["status"], `"`+status+`"`)
	}
	changed := c.must(200, "PUT", "rules/r?overwrite=true", `{"action":"ns/b"}`).json(t)
	same(t, "changed: still inactive", []any{changed["version"], changed["status"], changed["action"], changed["trigger"]},
		`["0.0.2","inactive",{"path":"ns","name":"b"},{"path":"ns","name":"t"}]`)
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		message            string
	}{
		"no such trigger":      {"PUT", "rules/x", `{"trigger":"/_/none","action":"/_/b"}`, 400, "trigger ns/none does not exist"},
		"no such action":       {"PUT", "rules/x", `{"trigger":"/_/t","action":"/_/none"}`, 400, "action ns/none does not exist"},
		"no trigger":           {"PUT", "rules/x", `{"action":"/_/b"}`, 400, "rule requires a valid trigger and a valid action"},
		"no action":            {"PUT", "rules/x", `{"trigger":"/_/t"}`, 400, "rule requires a valid trigger and a valid action"},
		"unqualified":          {"PUT", "rules/x", `{"trigger":"t","action":"/_/b"}`, 400, "The fully qualified name of the entity must contain at least the namespace and the name of the entity."},
		"somebody's trigger":   {"PUT", "rules/x", `{"trigger":"/other/t","action":"/_/b"}`, 403, "The supplied authentication is not authorized to access 'other/t'."},
		"somebody's action":    {"PUT", "rules/x", `{"trigger":"/_/t","action":"/other/b"}`, 403, "The supplied authentication is not authorized to access 'other/b'."},
		"there already":        {"PUT", "rules/r", `{}`, 409, "resource already exists"},
		"name of a trigger":    {"PUT", "rules/t", `{"trigger":"/_/t","action":"/_/b"}`, 409, "Resource by this name exists but is not in this collection."},
		"unknown status":       {"POST", "rules/r", `{"status":"asleep"}`, 400, "The request content was malformed:\n'asleep' is not a recognized rule state: it is active or inactive"},
		"no such rule":         {"POST", "rules/x", `{"status":"active"}`, 404, "The requested resource does not exist."},
		"feed of no name":      {"PUT", "triggers/x", `{"annotations":[{"key":"feed","value":"a b/*"}]}`, 400, "Feed name is not valid"},
		"trigger there":        {"PUT", "triggers/t", `{}`, 409, "resource already exists"},
		"trigger named a rule": {"PUT", "triggers/r", `{}`, 409, "Resource by this name exists but is not in this collection."},
		"no such trigger, GET": {"GET", "triggers/x", ``, 404, "The requested resource does not exist."},
		"fire no trigger":      {"POST", "triggers/x", ``, 404, "The requested resource does not exist."},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.do(test.method, test.path, test.body)
			if got.status != test.status || messageOf(t, got) != test.message {
				t.Errorf("%d %q", got.status, messageOf(t, got))
			}
		})
	}
	c.must(200, "POST", "rules/r", `{"status":"active"}`)
	same(t, "deleted", c.must(200, "DELETE", "triggers/t", "").json(t)["name"], `"t"`)
	same(t, "a rule without its trigger", c.must(200, "GET", "rules/r", "").json(t)["status"], `"inactive"`)
	if got := c.must(404, "POST", "rules/r", `{"status":"active"}`); messageOf(t, got) != "Only rules with existing triggers can be activated" {
		t.Errorf("%s", got.body)
	}
	c.must(200, "PUT", "triggers/t", "{}")
	same(t, "a trigger that was made again", rules(), `{}`)
	same(t, "a rule of the one before it", c.must(200, "GET", "rules/r", "").json(t)["status"], `"inactive"`)
	c.must(204, "POST", "triggers/t", "")
	c.must(200, "POST", "rules/r", `{"status":"active"}`)
	same(t, "activated", rules(), `{"ns/r":{"action":{"path":"ns","name":"b"},"status":"active"}}`)
	c.must(202, "POST", "triggers/t", "")
	c.must(200, "DELETE", "triggers/t", "")
	c.must(200, "PUT", "triggers/t", "{}")
	same(t, "updated", c.must(200, "PUT", "rules/r?overwrite=true", `{"action":"/_/b"}`).json(t)["status"], `"inactive"`)
	same(t, "the trigger knows it", rules(), `{"ns/r":{"action":{"path":"ns","name":"b"},"status":"inactive"}}`)
	same(t, "rule deleted", c.must(200, "DELETE", "rules/r", "").json(t)["status"], `"inactive"`)
	same(t, "the trigger's rules", rules(), `{}`)
}

// A fire runs the actions of active rules and logs the outcome of each.
func TestFire(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	c.action("good", "echo")
	c.action("bad", `fail {"error":"no"}`)
	c.action("gone", "echo")
	c.must(200, "PUT", "triggers/t", `{"parameters":[{"key":"a","value":1},{"key":"b","value":1}]}`)
	if got := c.do("POST", "triggers/t", ""); got.status != 204 || len(got.body) > 0 {
		t.Errorf("no rule: %d %s", got.status, got.body)
	}
	for i, action := range []string{"good", "bad", "gone", "good"} {
		c.must(200, "PUT", fmt.Sprintf("rules/r%d", i), `{"trigger":"/_/t","action":"/_/`+action+`"}`)
	}
	c.must(200, "POST", "rules/r3", `{"status":"inactive"}`)
	c.must(200, "DELETE", "actions/gone", "")
	got := c.must(202, "POST", "triggers/t", `{"b":2}`)
	id := got.json(t)["activationId"].(string)
	if got.header.Get("X-OpenWhisk-Activation-Id") != id {
		t.Error("no header")
	}
	record := c.must(200, "GET", "activations/"+id, "").json(t)
	logs := record["logs"].([]any)
	same(t, "record", record, `{"namespace":"ns","name":"t","version":"0.0.1","publish":false,"subject":"binding-of-ns","activationId":"`+id+`",
		"annotations":[{"key":"path","value":"ns/t"},{"key":"kind","value":"trigger"}],"response":{"result":{"b":2},"status":"success","success":true,"size":7}}`, "start", "logs")
	var entries []map[string]any
	for _, line := range logs {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line.(string)), &entry); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	first, _ := entries[0]["activationId"].(string)
	delete(entries[0], "activationId")
	delete(entries[1], "activationId")
	same(t, "rules", entries, `[
		{"rule":"ns/r0","action":"ns/good","statusCode":0,"success":true},
		{"rule":"ns/r1","action":"ns/bad","statusCode":0,"success":true},
		{"rule":"ns/r2","action":"ns/gone","statusCode":1,"success":false,"error":"The requested resource does not exist."},
		{"rule":"ns/r3","action":"ns/good","statusCode":1,"success":false,"error":"Rule 'ns/r3' is inactive, action 'ns/good' was not activated."}]`)
	eventually(t, "the action", func() bool { return c.do("GET", "activations/"+first, "").status == 200 })
	same(t, "input", c.must(200, "GET", "activations/"+first+"/result", "").json(t)["result"], `{"a":1,"b":2}`)
	list := c.must(200, "GET", "activations?name=t", "").list(t)
	if _, ended := list[0]["end"]; ended || len(list) != 1 {
		t.Errorf("a trigger's activation has no end: %v", list)
	}
	if got := c.do("POST", "triggers/t", "[]"); got.status != 400 {
		t.Errorf("no object: %d", got.status)
	}
}

// Fire returns when all actions have ended, and counts the failed ones. An event that is
// fired repeatedly has one record.
func TestFireEvent(t *testing.T) {
	r := newRunner()
	s := newServer(t, r)
	small := plan()
	small.PayloadBytes, small.FiresPerMinute = 100, 3
	c := s.tenant("ns", small)
	awaitMinute(t)
	fire := func(trigger, payload string) (feed.Fired, error) {
		return s.api.Fire(t.Context(), feed.Event{Namespace: "ns", Trigger: trigger, Payload: []byte(payload), ID: "0123456789abcdef0123456789abcdef"})
	}
	c.must(200, "PUT", "triggers/t", `{}`)
	if got, err := fire("t", `{}`); err != nil || !cmp.Equal(got, feed.Fired{}) {
		t.Errorf("no rule: %+v, %v", got, err)
	}
	for i, code := range []string{"wait", "echo", "crash"} {
		c.action(code, code)
		c.must(200, "PUT", fmt.Sprintf("rules/r%d", i), `{"trigger":"/_/t","action":"/_/`+code+`"}`)
	}
	ended := make(chan feed.Fired)
	go func() {
		got, err := fire("t", `{"x":1}`)
		if err != nil {
			t.Error(err)
		}
		ended <- got
	}()
	eventually(t, "all actions", func() bool { return r.count() == 3 })
	select {
	case <-ended:
		t.Error("it ended before its actions did")
	case <-time.After(50 * time.Millisecond):
	}
	close(r.hold)
	want := feed.Fired{Activation: "0123456789abcdef0123456789abcdef", Rules: 3, Failed: 1, Results: []json.RawMessage{[]byte(`{"x":1}`), []byte(`{"x":1}`)}}
	if got := <-ended; !cmp.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	want.Results = []json.RawMessage{[]byte(`{"x":2}`), []byte(`{"x":2}`)}
	if got, err := fire("t", `{"x":2}`); err != nil || !cmp.Equal(got, want) {
		t.Errorf("again: %+v, %v", got, err)
	}
	same(t, "one record", len(c.must(200, "GET", "activations?name=t", "").list(t)), "1")
	same(t, "of the last", c.must(200, "GET", "activations/0123456789abcdef0123456789abcdef/result", "").json(t)["result"], `{"x":2}`)
	for name, test := range map[string]struct {
		trigger, payload string
		want             error
	}{
		"no trigger": {"none", `{}`, feed.ErrNoTrigger},
		"an action":  {"echo", `{}`, feed.ErrNoTrigger},
		"too large":  {"t", `{"x":"` + string(make([]byte, 100)) + `"}`, feed.ErrTooLarge},
		"too often":  {"t", `{}`, feed.ErrThrottled},
	} {
		if _, err := fire(test.trigger, test.payload); !isError(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.api.Fire(t.Context(), feed.Event{Namespace: "nobody", Trigger: "t", Payload: []byte(`{}`), ID: "0123456789abcdef0123456789abcdef"}); !isError(err, feed.ErrNoTrigger) {
		t.Errorf("no namespace: %v", err)
	}
}
