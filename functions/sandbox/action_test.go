package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

func TestActions(t *testing.T) {
	p := open(t)
	code := guestCode(t, "guest")
	for name, test := range map[string]struct {
		parameters fields
		status     Status
		result     string // JSON; or a part of its member error
		log        []string
	}{
		"the last line is the result": {fields{"do": "print", "text": "one\ntwo\n{\"a\": 1}\n"}, Success, `{"a": 1}`, []string{"stdout: one", "stdout: two"}},
		"no line feed":                {fields{"do": "print", "text": "one\n{\"a\":1}"}, Success, `{"a":1}`, []string{"stdout: one"}},
		"empty lines at the end":      {fields{"do": "print", "text": "{\"a\":1}\n\n \n"}, Success, `{"a":1}`, nil},
		"several lines":               {fields{"do": "print", "text": "{\"log\":1}\n{\n  \"a\": {\n    \"b\": 1\n  }\n}\n"}, Success, "{\n  \"a\": {\n    \"b\": 1\n  }\n}", []string{`stdout: {"log":1}`}},
		"Windows line ends":           {fields{"do": "print", "text": "one\r\n{\"a\":1}\r\n"}, Success, `{"a":1}`, []string{"stdout: one"}},
		"broken UTF-8 in the log":     {fields{"do": "log", "text": "a\x00b", "count": 1}, Success, `{"logged":true}`, []string{"stderr: a\x00b"}},
		"an error of its own":         {fields{"do": "error", "text": "mine"}, ApplicationError, `{"error":"mine"}`, nil},
		"nothing":                     {fields{"do": "print", "text": ""}, DeveloperError, textInvalid, nil},
		"no JSON":                     {fields{"do": "print", "text": "hello\n"}, DeveloperError, textInvalid + ": hello", []string{"stdout: hello"}},
		"JSON but no object":          {fields{"do": "print", "text": "5\n"}, DeveloperError, textInvalid + ": 5", []string{"stdout: 5"}},
		"an array":                    {fields{"do": "print", "text": "before\n[1, {}]\n"}, Success, "[1, {}]", []string{"stdout: before"}},
		"an array on several lines":   {fields{"do": "print", "text": "{}\n[\n  {\n    \"a\": 1\n  }\n]\n"}, Success, "[\n  {\n    \"a\": 1\n  }\n]", []string{"stdout: {}"}},
		"half an object":              {fields{"do": "print", "text": "{\"a\":\n"}, DeveloperError, textInvalid, []string{`stdout: {"a":`}},
		"exit":                        {fields{"do": "exit", "count": 3, "text": "bye\n"}, DeveloperError, "Its exit code is 3.", []string{"stdout: bye"}},
		"exit with an error":          {fields{"do": "exit", "count": 3, "text": "{\"error\":\"mine\"}\n"}, DeveloperError, "mine", nil},
		"exit with a result":          {fields{"do": "exit", "count": 3, "text": "{\"a\":1}\n"}, DeveloperError, "Its exit code is 3.", nil},
		"exit with 0":                 {fields{"do": "exit", "count": 0, "text": "{\"a\":1}\n"}, Success, `{"a":1}`, nil},
		"panic":                       {fields{"do": "panic", "text": "oh no"}, DeveloperError, "Its exit code is 2.", nil},
		"a long result":               {fields{"do": "long", "bytes": 2 << 20}, DeveloperError, "exceeded the allowed length: 2097163 > 1048576 bytes", nil},
		"sleep":                       {fields{"do": "sleep", "count": 5}, Success, `{"slept":5}`, nil},
		"all asleep":                  {fields{"do": "select"}, DeveloperError, "Its exit code is 2.", nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := run(t, p, code, test.parameters)
			if o.Status != test.status {
				t.Errorf("status %q, want %q", o.Status, test.status)
			}
			if test.status != Success && !strings.HasPrefix(test.result, "{") {
				if text, _ := member(t, o, "error").(string); !strings.Contains(text, test.result) {
					t.Errorf("error %q, want %q in it", text, test.result)
				}
			} else if diff := cmp.Diff(test.result, string(o.Result)); diff != "" {
				t.Errorf("result (-want +got): %s", diff)
			}
			var log []string
			for _, line := range o.Logs {
				log = append(log, line.Stream+": "+line.Text)
			}
			if test.log != nil && cmp.Diff(test.log, log) != "" {
				t.Errorf("log (-want +got): %s", cmp.Diff(test.log, log))
			}
		})
	}
}

func TestPanicIsInTheLog(t *testing.T) {
	o := run(t, open(t), guestCode(t, "guest"), fields{"do": "panic", "text": "oh no"})
	if len(o.Logs) == 0 || o.Logs[0].Text != "panic: oh no" || o.Logs[0].Stream != stderr {
		t.Errorf("log %v", o.Logs)
	}
}

func TestEnvironmentIsTheCallsAlone(t *testing.T) {
	t.Setenv("SECRET_OF_THE_RUNTIME", "x")
	o := run(t, open(t), guestCode(t, "guest"), fields{"do": "env"}, func(c *Call) {
		c.Env = map[string]string{"__OW_NAMESPACE": "mine", "B": "=1"}
	})
	var got struct{ Env, Args []string }
	if err := json.Unmarshal(o.Result, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"__OW_NAMESPACE=mine": true, "B==1": true}
	for _, entry := range got.Env {
		if !want[entry] {
			t.Errorf("the guest sees %q", entry)
		}
		delete(want, entry)
	}
	if len(want) > 0 || len(got.Args) != 1 {
		t.Errorf("missing %v; arguments %v", want, got.Args)
	}
}

func TestLogLimit(t *testing.T) {
	p := open(t)
	code := guestCode(t, "guest")
	for name, test := range map[string]struct {
		limit    int64
		lines    int
		kept     int
		complete bool
	}{
		"all":       {1000, 2, 2, true},
		"cut":       {200, 100, 5, false}, // 40 for the text, 39 before it: 3 would fit, the third is cut
		"none":      {0, 1, 1, false},
		"no output": {0, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := run(t, p, code, fields{"do": "log", "text": strings.Repeat("x", 40), "count": test.lines}, func(c *Call) {
				c.Limits.LogBytes = test.limit
			})
			if o.Status != Success {
				t.Fatalf("%s: %s", o.Status, o.Result)
			}
			var size int64
			for _, line := range o.Logs {
				size += prefix + int64(len(line.Text))
			}
			notice := fmt.Sprintf("Logs were truncated because the total bytes size exceeds the limit of %d bytes.", test.limit)
			last := len(o.Logs) - 1
			cut := last >= 0 && o.Logs[last].Text == notice
			if cut == test.complete || len(o.Logs) > test.kept || cut && size-prefix-int64(len(notice)) > test.limit {
				t.Errorf("log %v", o.Logs)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	p := open(t)
	begin := time.Now()
	o := run(t, p, guestCode(t, "guest"), fields{"do": "now"})
	now, _ := member(t, o, "now").(float64)
	if at := time.Unix(0, int64(now)); at.Before(begin.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("the guest's time is %v", at)
	}
	o = run(t, p, guestCode(t, "guest"), fields{"do": "sleep", "count": 50})
	if o.Duration < 50*time.Millisecond || o.Wait < 0 {
		t.Errorf("duration %v, wait %v", o.Duration, o.Wait)
	}
}

func TestLogLineString(t *testing.T) {
	line := LogLine{Time: time.Date(2026, 1, 2, 3, 4, 5, 60_000_000, time.FixedZone("", 3600)), Stream: stdout, Text: "hello"}
	if got, want := line.String(), "2026-01-02T02:04:05.060000000Z stdout: hello"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// An environment costs no more than its size, and the guest reads all of it.
func TestEnvironmentIsLinear(t *testing.T) {
	p := open(t)
	code := guestCode(t, "guest")
	linear.Check(t, 100, func(n int) func() {
		env := map[string]string{}
		for i := range n {
			env[fmt.Sprintf("NAME_%d", i)] = "value"
		}
		return func() {
			ctx := withEnviron(t.Context(), env)
			if e := environOf(ctx); len(e.starts) != n {
				t.Fatalf("%d variables, want %d", len(e.starts), n)
			}
			(&guest{call: Call{Env: env}, logs: &logs{}}).config(ctx)
		}
	})
	env := map[string]string{"": "x", "A=B": "x", "NUL": "\x00"}
	for i := range 10_000 {
		env[fmt.Sprintf("NAME_%d", i)] = "value"
	}
	var got struct{ Env []string }
	o := run(t, p, code, fields{"do": "env"}, func(c *Call) { c.Env = env })
	if err := json.Unmarshal(o.Result, &got); err != nil || len(got.Env) != 10_000 || !slices.Contains(got.Env, "NAME_9999=value") {
		t.Errorf("%d variables, want 10000: %v %.200s", len(got.Env), err, o.Result)
	}
}
