package openwhisk_test

import (
	"errors"
	"strings"
	"testing"
)

func isError(err, want error) bool { return errors.Is(err, want) }

func (c *client) sequence(name string, components ...string) reply {
	c.t.Helper()
	return c.do("PUT", "actions/"+name+"?overwrite=true", `{"exec":{"kind":"sequence","components":["`+strings.Join(components, `","`)+`"]}}`)
}

// A sequence runs each component on the result of the previous one, including nested
// sequences, and stops at the first failure.
func TestSequence(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.must(200, "PUT", "packages/p", `{"parameters":[{"key":"inherited","value":true}]}`)
	c.action("add", "add")
	c.action("echo", "echo")
	c.action("p/echo", "echo")
	c.action("fail", `fail {"error":"stop"}`)
	c.action("crash", "crash")
	made := c.sequence("three", "/_/add", "ns/add", "/ns/p/echo").json(t)
	same(t, "made", made["exec"], `{"kind":"sequence","components":["/ns/add","/ns/add","/ns/p/echo"]}`)
	same(t, "its parameters", made["parameters"], `[{"key":"_actions","value":["/ns/add","/ns/add","/ns/p/echo"]}]`)
	c.sequence("nested", "/_/three", "/_/add")
	for name, test := range map[string]struct {
		components []string
		status     int
		result     string
		ran        int
	}{
		"one":               {[]string{"/_/add"}, 200, `{"n":1}`, 1},
		"three":             {[]string{"/_/add", "/_/add", "/_/p/echo"}, 200, `{"n":2,"inherited":true}`, 3},
		"nested":            {[]string{"/_/three", "/_/add"}, 200, `{"n":3}`, 2},
		"one fails":         {[]string{"/_/add", "/_/fail", "/_/add"}, 502, `{"error":"stop"}`, 2},
		"one crashes":       {[]string{"/_/crash", "/_/add"}, 502, `{"error":"it crashed"}`, 1},
		"one fails, nested": {[]string{"/_/failing", "/_/add"}, 502, `{"error":"stop"}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.sequence("failing", "/_/fail", "/_/add")
			if got := c.sequence("s", test.components...); got.status != 200 {
				t.Fatalf("%s", got.body)
			}
			record := c.must(test.status, "POST", "actions/s?blocking=true", `{"n":0}`).json(t)
			same(t, "result", record["response"].(map[string]any)["result"], test.result)
			ran := record["logs"].([]any)
			if len(ran) != test.ran {
				t.Fatalf("ran %v", ran)
			}
			part := c.must(200, "GET", "activations/"+ran[0].(string), "").json(t)
			if part["cause"] != record["activationId"] || !strings.Contains(string(c.must(200, "GET", "activations/"+ran[0].(string), "").body), `{"key":"causedBy","value":"sequence"}`) {
				t.Errorf("component: %v", part)
			}
			if _, caused := record["cause"]; caused {
				t.Error("the sequence has a cause")
			}
		})
	}
	record := c.must(200, "POST", "actions/nested?blocking=true", `{"n":0}`).json(t)
	same(t, "annotations", record["annotations"], `[{"key":"path","value":"ns/nested"},{"key":"kind","value":"sequence"},{"key":"topmost","value":true},
		{"key":"limits","value":{"timeout":60000,"memory":256,"logs":10,"concurrency":1}}]`)
	inner := c.must(200, "GET", "activations/"+record["logs"].([]any)[0].(string), "").json(t)
	same(t, "inner annotations", inner["annotations"], `[{"key":"path","value":"ns/three"},{"key":"kind","value":"sequence"},{"key":"causedBy","value":"sequence"},
		{"key":"topmost","value":false},{"key":"limits","value":{"timeout":60000,"memory":256,"logs":10,"concurrency":1}}]`)
}

// Sequences that are too long or cyclic are refused when they are created, and end if they
// become so later.
func TestSequenceBounds(t *testing.T) {
	small := plan()
	small.SequenceLength = 3
	c := newServer(t, newRunner()).tenant("ns", small)
	c.action("a", "echo")
	c.sequence("two", "/_/a", "/_/a")
	for name, test := range map[string]struct {
		components []string
		message    string
	}{
		"too long":         {[]string{"/_/a", "/_/a", "/_/a", "/_/a"}, "Too many actions in the sequence."},
		"too long, nested": {[]string{"/_/two", "/_/two"}, "Too many actions in the sequence."},
		"missing":          {[]string{"/_/a", "/_/b"}, "Sequence component does not exist."},
		"itself":           {[]string{"/_/s"}, "Sequence may not refer to itself."},
	} {
		if got := c.sequence("s", test.components...); got.status != 400 || messageOf(t, got) != test.message {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	c.sequence("s", "/_/two")
	if got := c.sequence("two", "/_/s"); got.status != 400 || messageOf(t, got) != "Sequence may not refer to itself." {
		t.Errorf("a circle: %s", got.body)
	}
	// a circle by way of a deleted part
	c.must(200, "DELETE", "actions/two", "")
	if got := c.must(502, "POST", "actions/s?blocking=true&result=true", ""); messageOnly(t, got) != "Sequence component does not exist." {
		t.Errorf("a missing component: %s", got.body)
	}
	if got := c.sequence("two", "/_/s"); got.status != 400 {
		t.Errorf("a circle by way of what was missing: %d", got.status)
	}
	// longer by a change of a part
	c.sequence("two", "/_/a", "/_/a")
	c.sequence("t", "/_/two", "/_/a")
	c.sequence("two", "/_/a", "/_/a", "/_/a")
	if got := c.must(502, "POST", "actions/t?blocking=true&result=true", ""); messageOnly(t, got) != "Too many actions in the sequence." {
		t.Errorf("longer than the plan has it: %s", got.body)
	}
}

// A cycle that was written to the database directly ends, and so does a check of it.
func TestSequenceInACircle(t *testing.T) {
	s := newServer(t, newRunner())
	c := s.tenant("ns", plan())
	c.action("a", "echo")
	c.sequence("x", "/_/a")
	c.sequence("y", "/_/x", "/_/x")
	if _, err := s.store.Pool.Exec(t.Context(), "update actions set components = '{/ns/y,/ns/y}' where name = 'x'"); err != nil {
		t.Fatal(err)
	}
	if got := c.must(502, "POST", "actions/x?blocking=true&result=true", ""); messageOnly(t, got) != "Too many actions in the sequence." {
		t.Errorf("%s", got.body)
	}
	if got := c.sequence("z", "/_/x"); got.status != 400 || messageOf(t, got) != "Too many actions in the sequence." {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func messageOnly(t *testing.T, r reply) any { t.Helper(); return r.json(t)["error"] }
