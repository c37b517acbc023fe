package openwhisk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

// joined is what item makes of 0 to n-1, with commas between.
func joined(n int, item func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = item(i)
	}
	return strings.Join(parts, ",")
}

func manyKeys(n int) string {
	return "[" + joined(n, func(i int) string { return fmt.Sprintf(`{"key":"k%d","value":%d}`, i, i) }) + "]"
}

func manyMembers(n int) string {
	return "{" + joined(n, func(i int) string { return fmt.Sprintf(`"k%d":%d`, i, i) }) + "}"
}

func decodedKeys(t testing.TB, raw string) keyValues {
	t.Helper()
	var kvs keyValues
	if err := decodeJSON([]byte(raw), &kvs); err != nil {
		t.Fatal(err)
	}
	return kvs
}

// What is done with requests grows no faster than they do.
func TestWorkIsLinear(t *testing.T) {
	for name, test := range map[string]struct {
		n       int
		prepare func(t testing.TB, n int) func()
	}{
		"parameters": {50, func(t testing.TB, n int) func() {
			raw := manyKeys(n)
			return func() { decodedKeys(t, raw) }
		}},
		"a key many times": {50, func(t testing.TB, n int) func() {
			raw := "[" + joined(n, func(int) string { return `{"key":"k","value":1}` }) + "]"
			return func() { decodedKeys(t, raw) }
		}},
		"parameters merged": {50, func(t testing.TB, n int) func() {
			kvs := decodedKeys(t, manyKeys(n))
			return func() { kvs.merged(kvs) }
		}},
		"annotations deleted": {50, func(t testing.TB, n int) func() {
			kvs := decodedKeys(t, manyKeys(n))
			keys := strings.Split(joined(n, func(i int) string { return fmt.Sprintf("x%d", i) }), ",")
			return func() { kvs.without(keys...) }
		}},
		"payload": {50, func(t testing.TB, n int) func() {
			raw, kvs := manyMembers(n), decodedKeys(t, manyKeys(n))
			limited := target{action: action{entity: entity{annotations: keyValues(nil).set(finalAnnotation, true), parameters: kvs}}}
			return func() {
				var payload object
				if err := decodeJSON([]byte(raw), &payload); err != nil {
					t.Fatal(err)
				}
				_ = limited.allows(payload.keys())
				kvs.input(payload).encode()
				kvs.variables(true)
			}
		}},
		"nesting": {90, func(t testing.TB, n int) func() {
			raw := `[{"key":"k","value":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}]`
			return func() { decodedKeys(t, raw).encode() }
		}},
		"a long number": {500, func(t testing.TB, n int) func() {
			raw := `{"limits":{"timeout":` + strings.Repeat("9", n) + `},"parameters":[{"key":"k","value":` + strings.Repeat("9", n) + `}]}`
			return func() { _ = decodeJSON([]byte(raw), &actionPut{}) }
		}},
		"names": {500, func(t testing.TB, n int) func() {
			path := "/_/" + strings.Repeat("a@ .-", n) + "*"
			many := strings.Repeat("/a", n)
			return func() {
				_, _ = parseQualified(path, "ns")
				_, _ = parseQualified(many, "ns")
				_, _ = parseReference(json.RawMessage(`{"path":"`+many+`","name":"`+path+`"}`), "ns")
			}
		}},
		"components": {50, func(t testing.TB, n int) func() {
			put := execDocument{Kind: sequenceKind, Components: strings.Split(joined(n, func(i int) string { return fmt.Sprintf("/_/a%d", i) }), ",")}
			return func() { _, _ = put.resolve("ns") }
		}},
		"a version": {500, func(t testing.TB, n int) func() {
			version := strings.Repeat("0.", n)
			return func() { _, _ = parseVersion(version) }
		}},
		"a token": {50, func(t testing.TB, n int) func() {
			keys, err := state.ParseKeys([]byte(state.GenerateKey()))
			if err != nil {
				t.Fatal(err)
			}
			a := &API{Options: Options{Sealer: keys}}
			request := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			request.SetBasicAuth(strings.Repeat("0", activationIDLength), strings.Repeat("a.", n)+strings.Repeat("a", n))
			return func() { _, _ = a.read(request) }
		}},
		"a web request": {100, func(t testing.TB, n int) func() {
			query := url.Values{}
			for i := range n {
				query.Set(fmt.Sprintf("q%d", i), "a")
			}
			request := httptest.NewRequest(http.MethodPost, "/?"+query.Encode(), http.NoBody)
			request.Header.Set("Content-Type", "application/json; "+strings.Repeat("a=b; ", n))
			for i := range n {
				request.Header[fmt.Sprintf("X-%d", i)] = []string{"a", "b"}
			}
			body := []byte(manyMembers(n))
			c := &webCall{call: &call{Request: request}}
			return func() {
				if _, err := c.arguments(target{}, body); err != nil {
					t.Fatal(err)
				}
				c.cgiRequest(body).variables(map[string]string{})
			}
		}},
		"a form": {50, func(t testing.TB, n int) func() {
			request := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			body := []byte(strings.ReplaceAll(joined(n, func(i int) string { return fmt.Sprintf("k%d=v", i) }), ",", "&"))
			c := &webCall{call: &call{Request: request}}
			return func() { _, _ = c.arguments(target{}, body) }
		}},
		"types of content": {50, func(t testing.TB, n int) func() {
			types := []string{
				"text/plain; " + strings.Repeat("a=b; ", n), "text/plain" + strings.Repeat("; ", n), "text/plain; a=\"" + strings.Repeat(`\"`, n) + `"`,
				"text/plain; " + joined(n, func(i int) string { return fmt.Sprintf("a*%d=b;", i) }),
				"text/plain; " + strings.ReplaceAll(joined(n, func(i int) string { return fmt.Sprintf("a*%d*=%%41", i) }), ",", ";"),
			}
			return func() {
				for _, contentType := range types {
					isText(contentType)
					withCharset(contentType)
				}
			}
		}},
		"an answer to the web": {50, func(t testing.TB, n int) func() {
			headers := "{" + joined(n, func(i int) string { return fmt.Sprintf(`"X-%d":["a",1,true]`, i) }) + "}"
			many := `{"X":[` + joined(n, func(int) string { return `"a"` }) + "]}"
			return func() {
				for _, h := range []string{headers, many} {
					c := &webCall{call: &call{Request: httptest.NewRequest(http.MethodGet, "/", http.NoBody), w: httptest.NewRecorder()}, extension: ".http"}
					if err := c.render(performed{record: &record{result: json.RawMessage(`{"headers":` + h + `,"body":` + headers + `}`)}}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
		"the query of a list": {50, func(t testing.TB, n int) func() {
			c := &call{Request: httptest.NewRequest(http.MethodGet, "/?limit=5&name="+strings.Repeat("a/", n)+"&"+strings.Repeat("a=b&", n), http.NoBody)}
			return func() { _, _ = c.readFilter() }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			linear.Check(t, test.n, func(n int) func() { return test.prepare(t, n) })
		})
	}
}

// BenchmarkParameters shows that a key costs the same among 10, 100 and 1,000.
func BenchmarkParameters(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			raw, payload := manyKeys(n), []byte(manyMembers(n))
			for b.Loop() {
				kvs := decodedKeys(b, raw)
				var o object
				if err := decodeJSON(payload, &o); err != nil {
					b.Fatal(err)
				}
				kvs.merged(kvs).input(o).encode()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/key")
		})
	}
}
