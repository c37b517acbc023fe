package openwhisk_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func (c *client) wants(status int, message, method, path, body string) {
	c.t.Helper()
	if got := c.do(method, path, body); got.status != status || messageOf(c.t, got) != message {
		c.t.Errorf("%s %s: %d %s, want %d %s", method, path, got.status, got.body, status, message)
	}
}

// With force, a package is deleted with its actions and their compiled code.
func TestForcedDeletionOfPackage(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	c.must(200, "PUT", "packages/p", "{}")
	c.must(200, "PUT", "packages/bound", `{"binding":{"namespace":"_","name":"p"}}`)
	c.action("p/a", "echo")
	c.action("p/b", "answer {}", `"annotations":[{"key":"lock","value":true}]`)
	c.action("a", "env")
	c.must(200, "DELETE", "packages/bound?force=true", "")
	c.wants(409, "Package not empty (contains 2 entities)", "DELETE", "packages/p?force=false", "")
	c.wants(403, "this action can't be deleted until lock annotation is updated to false", "DELETE", "packages/p?force=true", "")
	c.must(200, "GET", "actions/p/a", "")
	c.must(200, "PUT", "actions/p/b?overwrite=true", `{"annotations":[{"key":"lock","value":false}]}`)
	same(t, "deleted", c.must(200, "DELETE", "packages/p?force=true", "").json(t)["name"], `"p"`)
	c.must(404, "GET", "packages/p", "")
	c.must(404, "GET", "actions/p/a", "")
	c.must(200, "GET", "actions/a", "")
	if len(r.forgotten) != 2 || slices.Contains(r.forgotten, r.prepared[2]) {
		t.Errorf("forgot %v of %v", r.forgotten, r.prepared)
	}
	c.must(200, "PUT", "packages/p", "{}")
	same(t, "made again", c.must(200, "GET", "packages/p", "").json(t)["actions"], "[]")
}

// A locked action cannot be changed or deleted until it is unlocked.
func TestLockedAction(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.action("a", "echo", `"annotations":[{"key":"lock","value":true}]`)
	const updated, deleted = "this action can't be updated until lock annotation is updated to false", "this action can't be deleted until lock annotation is updated to false"
	c.wants(403, updated, "PUT", "actions/a?overwrite=true", `{"exec":{"kind":"nodejs:default","code":"crash"}}`)
	c.wants(403, updated, "PUT", "actions/a?overwrite=true", `{"delAnnotations":["lock"]}`)
	c.wants(403, deleted, "DELETE", "actions/a", "")
	c.must(200, "POST", "actions/a?blocking=true", "{}")
	c.must(200, "PUT", "actions/a?overwrite=true", `{"annotations":[{"key":"lock","value":false}]}`)
	c.must(200, "DELETE", "actions/a", "")
}

// Unsupported features are refused instead of misinterpreted.
func TestWhatIsMissingIsRefused(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	const conductor = "Annotation 'conductor' is not supported: this platform runs no compositions. Use a sequence, or call the actions from one action."
	for _, value := range []string{"true", "1", `"yes"`, "[]", "{}"} {
		c.wants(400, conductor, "PUT", "actions/c", `{"exec":{"kind":"nodejs:default","code":"echo"},"annotations":[{"key":"conductor","value":`+value+`}]}`)
	}
	for _, value := range []string{"false", "0", `""`, "null"} {
		c.action("c", "echo", `"annotations":[{"key":"conductor","value":`+value+`}]`)
	}
	c.wants(400, conductor, "PUT", "actions/c?overwrite=true", `{"annotations":[{"key":"conductor","value":true}]}`)
	c.must(200, "PUT", "actions/s", `{"exec":{"kind":"sequence","components":["/_/c"]},"annotations":[{"key":"conductor","value":true}]}`)
	for _, kind := range []string{"nodejs:18", "nodejs:20", "nodejs", "python:3", "blackbox"} {
		c.wants(400, "The request content was malformed:\nkind '"+kind+"' not in Set(wasm:default, wasm:wasi, nodejs:default, sequence)",
			"PUT", "actions/k", `{"exec":{"kind":"`+kind+`","code":"echo","image":"x"}}`)
	}
	c.wants(400, "The request content was malformed:\na JSON object is expected, not array", "POST", "actions/c", "[1]")
	c.wants(413, "Parameters larger than allowed: 1001 > 1000 keys.", "PUT", "actions/k", `{"exec":{"kind":"nodejs:default","code":"echo"},"parameters":`+nKeys(1001)+`}`)
	c.wants(413, "Annotations larger than allowed: 1001 > 1000 keys.", "PUT", "triggers/k", `{"annotations":`+nKeys(1001)+`}`)
	c.wants(413, "Annotations larger than allowed: 70024 > 65536 bytes.", "PUT", "packages/k", `{"annotations":[{"key":"a","value":"`+strings.Repeat("a", 70000)+`"}]}`)
	c.must(200, "PUT", "packages/k", `{"parameters":`+nKeys(1000)+`}`)
	c.action("many", "echo", `"annotations":`+nKeys(990))
	c.wants(413, "Annotations larger than allowed: 1002 > 1000 keys.", "PUT", "actions/many?overwrite=true",
		`{"annotations":[`+list(10, func(i int) string { return `{"key":"x` + string(rune('0'+i)) + `","value":1}` })+`]}`)
}

func nKeys(n int) string {
	return "[" + list(n, func(i int) string { return fmt.Sprintf(`{"key":"k%d","value":1}`, i) }) + "]"
}

// An action may return an array, which is the input of the next action of a sequence.
func TestArrays(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.action("array", `answer [3,{"error":1},"x"]`)
	c.action("empty", `answer []`)
	c.action("echo", "echo", `"parameters":[{"key":"p","value":1}]`)
	c.sequence("inner", "/_/array", "/_/echo")
	c.sequence("outer", "/_/inner", "/_/echo", "/_/inner", "/_/echo")
	c.sequence("emptied", "/_/empty", "/_/echo")
	for name, want := range map[string]string{"array": `[3,{"error":1},"x"]`, "inner": `[3,{"error":1},"x"]`, "outer": `[3,{"error":1},"x"]`, "emptied": "[]"} {
		same(t, name, c.must(200, "POST", "actions/"+name+"?blocking=true&result=true", `{"a":1}`).any(t), want)
		record := c.must(200, "POST", "actions/"+name+"?blocking=true", "{}").json(t)
		same(t, name+", recorded", record["response"].(map[string]any)["result"], want)
		same(t, name+", read", c.must(200, "GET", "activations/"+record["activationId"].(string)+"/result", "").json(t)["result"], want)
	}
}
