package openwhisk_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// An action is created, changed and deleted; each answer has OpenWhisk's shape.
func TestActions(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	first := `{
		"namespace":"ns","name":"a b","version":"0.0.1","publish":false,
		"annotations":[{"key":"description","value":"x"},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:default"}],
		"parameters":[{"key":"p","value":{"deep":[1,2.50]}}],"limits":{"timeout":60000,"memory":256,"logs":10,"concurrency":1},
		"exec":{"kind":"nodejs:default","code":"echo","binary":false}}`
	got := c.must(200, "PUT", "actions/a%20b", `{"namespace":"_","name":"a b","exec":{"kind":"nodejs:default","code":"echo"},
		"parameters":[{"key":"p","value":0},{"key":"p","value":{"deep":[1,2.50]}}],"annotations":[{"key":"description","value":"x"}],"unknown":1}`)
	same(t, "made", got.json(t), first, "updated")
	same(t, "read", c.must(200, "GET", "actions/a%20b", "").json(t), first, "updated")
	same(t, "read without its code", c.must(200, "GET", "actions/a%20b?code=false", "").json(t)["exec"], `{"kind":"nodejs:default","binary":false}`)
	if again := c.do("PUT", "actions/a%20b", `{"exec":{"kind":"nodejs:default","code":"echo"}}`); again.status != 409 || messageOf(t, again) != "resource already exists" {
		t.Errorf("made again: %d %s", again.status, again.body)
	}
	same(t, "changed: what is not said stays", c.must(200, "PUT", "actions/a%20b?overwrite=true", `{"limits":{"timeout":1000},"publish":true,
		"annotations":[{"key":"new","value":1}],"delAnnotations":["description"]}`).json(t), `{
		"namespace":"ns","name":"a b","version":"0.0.2","publish":true,
		"annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:default"},{"key":"new","value":1}],
		"parameters":[{"key":"p","value":{"deep":[1,2.50]}}],"limits":{"timeout":1000,"memory":256,"logs":10,"concurrency":1},
		"exec":{"kind":"nodejs:default","binary":false}}`, "updated")
	old := r.prepared[0]
	c.action("a%20b", "env")
	if !slices.Contains(r.forgotten, old) {
		t.Error("code that nobody has is still compiled")
	}
	list := c.must(200, "GET", "actions?limit=0&skip=0", "").list(t)
	same(t, "listed", list[0], `{"namespace":"ns","name":"a b","version":"0.0.3","publish":true,"limits":{"timeout":1000,"memory":256,"logs":10,"concurrency":1},
		"annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:default"},{"key":"new","value":1}],"exec":{"binary":false}}`, "updated")
	same(t, "deleted", c.must(200, "DELETE", "actions/a%20b", "").json(t)["version"], `"0.0.3"`)
	c.must(404, "GET", "actions/a%20b", "")
	c.must(404, "DELETE", "actions/a%20b", "")
	c.must(404, "POST", "actions/a%20b", "")
}

// WebAssembly is base64 in requests and answers, whatever "binary" says.
func TestBinaryCode(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	code := base64.StdEncoding.EncodeToString([]byte("echo"))
	for _, kind := range []string{"wasm:default", "wasm:wasi"} {
		c.must(200, "PUT", "actions/w?overwrite=true", `{"exec":{"kind":"`+kind+`","code":"`+code+`"}}`)
		same(t, kind, c.must(200, "GET", "actions/w", "").json(t)["exec"], `{"kind":"`+kind+`","code":"`+code+`","binary":true}`)
		same(t, kind, c.must(200, "POST", "actions/w?blocking=true&result=true", `{"a":1}`).json(t), `{"a":1}`)
	}
}

// A PUT of an invalid action says what is wrong, and stores nothing.
func TestActionsRefused(t *testing.T) {
	small := plan()
	small.CodeBytes, small.PayloadBytes, small.Actions, small.TimeoutMillis, small.MemoryBytes = 1000, 500, 3, 5000, 128<<20
	c := newServer(t, newRunner()).tenant("ns", small)
	c.action("there", "echo")
	c.must(200, "PUT", "triggers/trigger", "{}")
	c.must(200, "PUT", "packages/package", "{}")
	c.must(200, "PUT", "packages/binding", `{"binding":{"namespace":"_","name":"package"}}`)
	good := `{"exec":{"kind":"nodejs:default","code":"echo"}`
	for name, test := range map[string]struct {
		path, body string
		status     int
		message    string
	}{
		"no exec":              {"actions/a", `{}`, 400, "exec undefined"},
		"no JSON":              {"actions/a", `{`, 400, "The request content was malformed:\nthe body is not JSON"},
		"no UTF-8":             {"actions/a", "{\"annotations\":[{\"key\":\"a\",\"value\":\"\xff\"}]}", 400, "The request content was malformed:\nthe body is not UTF-8"},
		"no object":            {"actions/a", `[]`, 400, "The request content was malformed:\na JSON object is expected, not array"},
		"wrong type":           {"actions/a", `{"exec":{"kind":7}}`, 400, "The request content was malformed:\n\"exec.kind\" cannot be number"},
		"wrong type, embedded": {"actions/a", `{"version":7}`, 400, "The request content was malformed:\n\"version\" cannot be number"},
		"no kind":              {"actions/a", `{"exec":{"code":"echo"}}`, 400, "The request content was malformed:\nkind '' not in Set(wasm:default, wasm:wasi, nodejs:default, sequence)"},
		"unknown kind":         {"actions/a", `{"exec":{"kind":"cobol:85","code":"echo"}}`, 400, "The request content was malformed:\nkind 'cobol:85' not in Set(wasm:default, wasm:wasi, nodejs:default, sequence)"},
		"no code":              {"actions/a", `{"exec":{"kind":"nodejs:default"}}`, 400, "The request content was malformed:\n'code' must be a string, and not an empty one, for kind 'nodejs:default'"},
		"no base64":            {"actions/a", `{"exec":{"kind":"wasm:default","code":"%%%"}}`, 400, "The request content was malformed:\nthe code of kind 'wasm:default' is a WebAssembly module in base64"},
		"an archive":           {"actions/a", `{"exec":{"kind":"nodejs:default","code":"UEsDBBQ="}}`, 400, "The request content was malformed:\ncode of kind 'nodejs:default' is the text of one JavaScript file: bundle what it needs into that file, archives are not run here"},
		"invalid code":         {"actions/a", `{"exec":{"kind":"nodejs:default","code":"invalid"}}`, 400, "The code cannot be run: it is no module"},
		"main is no name":      {"actions/a", `{"exec":{"kind":"nodejs:default","code":"echo","main":"a;b"}}`, 400, "The request content was malformed:\n'main' is the name of a function"},
		"cgi in JavaScript":    {"actions/a", good + `,"annotations":[{"key":"cgi","value":true}]}`, 400, "Annotation 'cgi' is for kinds wasm:default and wasm:wasi, not for 'nodejs:default'."},
		"code too long":        {"actions/a", `{"exec":{"kind":"nodejs:default","code":"` + strings.Repeat("x", 1001) + `"}}`, 413, "Code larger than allowed: 1001 > 1000 bytes."},
		"parameters too long":  {"actions/a", good + `,"parameters":[{"key":"p","value":"` + strings.Repeat("x", 600) + `"}]}`, 413, "Parameters larger than allowed: 624 > 500 bytes."},
		"annotations too long": {"actions/a", good + `,"annotations":[{"key":"p","value":"` + strings.Repeat("x", 600) + `"}]}`, 413, "Annotations larger than allowed: 624 > 500 bytes."},
		"empty key":            {"actions/a", good + `,"parameters":[{"key":" ","value":1}]}`, 400, "The request content was malformed:\nparameters and annotations need a key that is not empty"},
		"timeout too short":    {"actions/a", good + `,"limits":{"timeout":99}}`, 400, "The request content was malformed:\nrequirement failed: timeout 99 ms below allowed threshold of 100 ms"},
		"timeout too long":     {"actions/a", good + `,"limits":{"timeout":5001}}`, 400, "The request content was malformed:\nrequirement failed: timeout 5001 ms exceeds allowed threshold of 5000 ms"},
		"memory":               {"actions/a", good + `,"limits":{"memory":129}}`, 400, "The request content was malformed:\nrequirement failed: memory 129 MB exceeds allowed threshold of 128 MB"},
		"logs":                 {"actions/a", good + `,"limits":{"logs":11}}`, 400, "The request content was malformed:\nrequirement failed: logs 11 MB exceeds allowed threshold of 10 MB"},
		"concurrency":          {"actions/a", good + `,"limits":{"concurrency":2}}`, 400, "The request content was malformed:\nrequirement failed: concurrency 2 activations exceeds allowed threshold of 1 activations"},
		"version":              {"actions/a", good + `,"version":"one"}`, 400, "The request content was malformed:\n'one' is not a semantic version"},
		"overwrite":            {"actions/a?overwrite=maybe", good + `}`, 400, "The query parameter 'overwrite' was malformed:\nit is true or false."},
		"name":                 {"actions/%2A", good + `}`, 400, "The name of the entity contains illegal characters."},
		"name of a trigger":    {"actions/trigger", good + `}`, 409, "Resource by this name exists but is not in this collection."},
		"no package":           {"actions/nowhere/a", good + `}`, 404, "The requested resource does not exist."},
		"into a binding":       {"actions/binding/a", good + `}`, 400, "Operation not permitted on package binding."},
		"empty sequence":       {"actions/a", `{"exec":{"kind":"sequence","components":[]}}`, 400, "No component specified for the sequence."},
		"missing component":    {"actions/a", `{"exec":{"kind":"sequence","components":["/_/nobody"]}}`, 400, "Sequence component does not exist."},
		"unqualified":          {"actions/a", `{"exec":{"kind":"sequence","components":["there"]}}`, 400, "The fully qualified name of the entity must contain at least the namespace and the name of the entity."},
		"itself":               {"actions/there?overwrite=true", `{"exec":{"kind":"sequence","components":["/_/there"]}}`, 400, "Sequence may not refer to itself."},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.do("PUT", test.path, test.body)
			if got.status != test.status || messageOf(t, got) != test.message {
				t.Errorf("%d %q, want %d %q", got.status, messageOf(t, got), test.status, test.message)
			}
		})
	}
	same(t, "what is there", len(c.must(200, "GET", "actions", "").list(t)), "1")
	c.action("second", "echo")
	c.action("third", "echo")
	if got := c.do("PUT", "actions/fourth", good+"}"); got.status != http.StatusForbidden {
		t.Errorf("one more than the plan has: %d %s", got.status, got.body)
	}
	if got := c.do("PUT", "actions/huge", strings.Repeat(" ", 1<<20)); got.status != 413 {
		t.Errorf("a huge request: %d", got.status)
	}
}

// Lists can be paged and counted.
func TestLists(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.must(200, "PUT", "packages/p", "{}")
	for _, name := range []string{"a", "b", "p/c"} {
		c.action(name, "echo")
	}
	c.must(200, "PUT", "triggers/t", "{}")
	c.must(200, "PUT", "rules/r", `{"trigger":"/_/t","action":"/_/a"}`)
	names := func(path string) string {
		var out []string
		for _, x := range c.must(200, "GET", path, "").list(t) {
			out = append(out, x["name"].(string))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	for path, want := range map[string]string{
		"actions": "a b c", "actions/": "a b c", "actions?limit=2": "b c", "actions?limit=2&skip=2": "a", "actions?skip=9": "",
		"actions/p/": "c", "packages": "p", "triggers": "t", "rules": "r", "actions?limit=0": "a b c", "actions?limit=200": "a b c",
	} {
		if got := names(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"actions?count=true": `{"actions":3}`, "actions?count=true&skip=2": `{"actions":1}`, "actions/p/?count=true": `{"actions":1}`,
		"packages?count=true": `{"packages":1}`, "triggers?count=true": `{"triggers":1}`, "rules?count=true": `{"rules":1}`,
		"activations?count=true": `{"activations":0}`,
	} {
		same(t, path, c.must(200, "GET", path, "").json(t), want)
	}
	for path, want := range map[string]string{
		"actions?limit=201":                      "The value '201' is not in the range of 0 to 200 for actions.",
		"packages?limit=-1":                      "The value '-1' is not in the range of 0 to 200 for packages.",
		"triggers?limit=x":                       "The value 'x' is not an integer for triggers.",
		"rules?skip=-1":                          "The value '-1' is not greater than or equal to 0 for rules.",
		"activations?skip=1.5":                   "The value '1.5' is not an integer for activations.",
		"activations?docs=true&count=1":          "The parameter 'docs' is not permitted with 'count'.",
		"activations?since=yesterday":            "Parameter is not a valid value for epoch seconds: yesterday",
		"activations?name=a/b/c":                 "Parameter may be a 'simple' name or 'package-name/simple' name: a/b/c",
		"activations/1234":                       "activation id length is 4 but must be 32.",
		"activations/" + strings.Repeat("g", 32): "The activation id is not valid.",
	} {
		if got := c.must(400, "GET", path, ""); messageOf(t, got) != want {
			t.Errorf("%s: %q, want %q", path, messageOf(t, got), want)
		}
	}
}
