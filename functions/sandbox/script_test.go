package sandbox

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestScripts(t *testing.T) {
	p := open(t)
	for name, test := range map[string]struct {
		script string
		status Status
		result string
	}{
		"a function":         {`function main(p) { return {sum: p.a + p.b} }`, Success, `{"sum":3}`},
		"a constant":         {`const main = ({a}) => ({a})`, Success, `{"a":1}`},
		"an exported main":   {`exports.main = (p) => ({exported: p.b})`, Success, `{"exported":2}`},
		"module.exports":     {`module.exports = (p) => ({exported: p.b})`, Success, `{"exported":2}`},
		"an async function":  {`async function main(p) { await null; return {later: p.a} }`, Success, `{"later":1}`},
		"a timer":            {`function main() { return new Promise((done) => setTimeout((n) => done({n}), 5, 7)) }`, Success, `{"n":7}`},
		"timers in order":    {`function main() { const l = []; setTimeout(() => l.push(2), 20); setTimeout(() => l.push(1), 1); return new Promise((d) => setTimeout(() => d({l}), 40)) }`, Success, `{"l":[1,2]}`},
		"an interval":        {`function main() { let n = 0; return new Promise((d) => { const i = setInterval(() => { if (++n === 3) { clearInterval(i); d({n}) } }, 1) }) }`, Success, `{"n":3}`},
		"nothing returned":   {`function main() {}`, Success, `{}`},
		"text in all planes": {`function main(p) { return {text: '\u00e9\u20ac\u{1F600}' + p.text} }`, Success, "{\"text\":\"é€😀ü\"}"},
		"a zero in a text":   {`function main(p) { return {text: 'a\0b'} }`, Success, `{"text":"a\u0000b"}`},
		"the environment":    {`function main() { return {name: process.env.__OW_ACTION_NAME} }`, Success, `{"name":"/ns/a"}`},
		"encoders":           {`function main() { return {n: new TextEncoder().encode('é€😀').length, t: new TextDecoder().decode(new TextEncoder().encode('é€😀'))} }`, Success, `{"n":9,"t":"é€😀"}`},
		"base64":             {`function main() { return {b: btoa('abc'), a: atob('YWJj')} }`, Success, `{"b":"YWJj","a":"abc"}`},
		"an error object":    {`function main() { return {error: 'mine'} }`, ApplicationError, `{"error":"mine"}`},
		"a rejection":        {`function main() { return Promise.reject({code: 5}) }`, ApplicationError, `{"error":{"code":5}}`},
		"an empty rejection": {`function main() { return Promise.reject() }`, ApplicationError, `{"error":{}}`},
		"an exception":       {`function main() { throw new TypeError('no') }`, DeveloperError, `{"error":"An error has occurred: TypeError: no"}`},
		"no main":            {`var x = 1`, DeveloperError, `{"error":"Initialization has failed due to: Action entrypoint 'main' is not a function."}`},
		"a hostile stack":    {`const e = {toString: () => 'mine', get stack() { throw e }}; throw e`, DeveloperError, `{"error":"Initialization has failed due to: mine"}`},
		"an early exception": {`null.x; function main() {}`, DeveloperError, `{"error":"Initialization has failed due to: TypeError: cannot read property 'x' of null"}`},
		"a number":           {`function main() { return 5 }`, DeveloperError, `{"error":"The action did not return a dictionary or array."}`},
		"an array":           {`function main() { return [1, {}] }`, Success, `[1,{}]`},
		"an array later":     {`async function main() { return [] }`, Success, `[]`},
		"a promise for ever": {`function main() { return new Promise(() => {}) }`, DeveloperError, `{"error":"` + textAbnormal + ` Its promise was not settled, and nothing is left to wait for."}`},
		"a timer that fails": {`function main() { return new Promise(() => setTimeout(() => { throw 'x' }, 1)) }`, DeveloperError, `{"error":"An error has occurred: x"}`},
		"globals replaced":   {`JSON.stringify = JSON.parse = () => { throw 1 }; Promise.resolve = null; function main(p) { return {a: p.a} }`, Success, `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			o := run(t, p, script(test.script), fields{"a": 1, "b": 2, "text": "ü"}, func(c *Call) {
				c.Env = map[string]string{"__OW_ACTION_NAME": "/ns/a"}
			})
			if o.Status != test.status {
				t.Errorf("status %q, want %q; logs %v", o.Status, test.status, o.Logs)
			}
			if diff := cmp.Diff(test.result, string(o.Result)); diff != "" {
				t.Errorf("result (-want +got): %s", diff)
			}
		})
	}
}

func TestScriptConsole(t *testing.T) {
	o := run(t, open(t), script(`function main() {
		console.log('plain', 1, {a: [true, null]}, undefined);
		console.log('%s has %d%%', 'all', '7', 'more');
		console.error('two\nlines');
		console.warn(new RangeError('far'));
		return {}
	}`), fields{})
	var got []string
	for _, line := range o.Logs {
		if age := time.Since(line.Time); age < 0 || age > time.Hour {
			t.Errorf("%v is not now", line.Time)
		}
		got = append(got, line.Stream+": "+line.Text)
	}
	want := []string{
		`stdout: plain 1 {"a":[true,null]} undefined`, "stdout: all has 7% more", "stderr: two", "stderr: lines", "stderr: RangeError: far",
	}
	if len(got) < len(want) || cmp.Diff(want, got[:len(want)]) != "" {
		t.Errorf("log (-want +got): %s", cmp.Diff(want, got))
	}
}

func TestScriptLimits(t *testing.T) {
	p := open(t)
	neighbour := script(`function main() { return {fine: true} }`)
	for name, test := range map[string]struct {
		script string
		change func(*Call)
		status Status
		text   string
	}{
		"a loop":             {`function main() { for (;;); }`, timeout(300), DeveloperError, "The action exceeded its time limits of 300 milliseconds."},
		"a loop at the top":  {`for (;;); function main() {}`, timeout(300), DeveloperError, "The action exceeded its time limits of 300 milliseconds."},
		"promises for ever":  {`function main() { const f = () => Promise.resolve().then(f); return f() }`, timeout(300), DeveloperError, "The action exceeded its time limits of 300 milliseconds."},
		"a long timer":       {`function main() { return new Promise((d) => setTimeout(d, 1e6)) }`, timeout(300), DeveloperError, "The action exceeded its time limits of 300 milliseconds."},
		"a backtracking one": {`function main() { return {m: /^(a+)+$/.test('a'.repeat(60) + 'b')} }`, timeout(300), DeveloperError, "The action exceeded its time limits of 300 milliseconds."},
		"memory":             {`function main() { const l = []; for (;;) l.push(new Uint8Array(1 << 20)) }`, nil, DeveloperError, "memory"},
		"many strings":       {`function main() { let s = 'x'; for (;;) s += s + Math.random() }`, nil, DeveloperError, ""},
		"recursion":          {`function f(n) { return f(n + 1) + 1 } function main() { return {n: f(0)} }`, nil, DeveloperError, ""},
		"deep JSON":          {`function main() { return JSON.parse('['.repeat(1e6)) }`, nil, DeveloperError, ""},
		"a large result":     {`function main() { return {x: 'y'.repeat(2 << 20)} }`, nil, DeveloperError, "exceeded the allowed length: 2097160 > 1048576 bytes"},
		"a deep result":      {`function main() { let o = {}; for (let i = 0; i < 1e5; i++) o = {o}; return o }`, nil, DeveloperError, ""},
		"CGI":                {`function main() {}`, func(c *Call) { c.CGI = true }, DeveloperError, "JavaScript has no CGI"},
	} {
		t.Run(name, func(t *testing.T) {
			o := run(t, p, script(test.script), fields{}, func(c *Call) {
				c.Limits.Memory = 64 << 20
				if test.change != nil {
					test.change(c)
				}
			})
			if text, _ := member(t, o, "error").(string); o.Status != test.status || text == "" || !strings.Contains(text, test.text) {
				t.Errorf("status %q, result %.300s; want %q and %q", o.Status, o.Result, test.status, test.text)
			}
			if o := run(t, p, neighbour, fields{}); o.Status != Success {
				t.Errorf("neighbour: %+v, %s", o, o.Result)
			}
		})
	}
}

func timeout(milliseconds int) func(*Call) {
	return func(c *Call) { c.Limits.Timeout = time.Duration(milliseconds) * time.Millisecond }
}

func TestScriptsAreSeparate(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers = 1 })
	counting := script(`globalThis.n = (globalThis.n ?? 0) + 1; Object.prototype.seen = (({}).seen ?? 0) + 1; function main() { return {n, seen: ({}).seen, random: Math.random()} }`)
	first, second := run(t, p, counting, fields{}), run(t, p, counting, fields{})
	for _, o := range []Outcome{first, second} {
		if o.Status != Success || member(t, o, "n") != 1.0 || member(t, o, "seen") != 1.0 {
			t.Errorf("%s: %s", o.Status, o.Result)
		}
	}
	if member(t, first, "random") == member(t, second, "random") {
		t.Error("two calls have the same random numbers")
	}
}

func TestScriptSyntax(t *testing.T) {
	p := open(t, ownFolder(t))
	err := p.Prepare(t.Context(), script("function main() {\n  return {\n}"))
	refused := new(CodeError)
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "SyntaxError") || !strings.Contains(refused.Reason, "main.js:3") {
		t.Errorf("error %v, want a syntax error with its line", err)
	}
	if err := p.Prepare(t.Context(), script("function main() { return {a: 1} }")); err != nil {
		t.Error(err)
	}
}

func TestEngineIsTheOneThatTheReadmeNames(t *testing.T) {
	const want = "d4c9375f2b1ca4dc95f72c8aa2982a7a9951ac8011490d79c6582df732b4bbd9"
	if engineHash != want {
		t.Errorf("the engine's hash is %s, engine/README.md has %s", engineHash, want)
	}
}
