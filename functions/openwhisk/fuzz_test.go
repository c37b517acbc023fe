package openwhisk_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzAPI sends arbitrary requests with a valid key. The API answers with valid HTTP and
// OpenWhisk's errors, never with an internal error, and never touches another namespace.
func FuzzAPI(f *testing.F) {
	s := newServer(f, newRunner())
	s.api.UseFeeds(&feeds{})
	canary, c := s.tenant("canary", plan()), s.tenant("ns", plan())
	canary.action("a", "echo", `"parameters":[{"key":"k","value":"canary-secret"}]`, exported+"]")
	before := canary.must(200, "GET", "actions/a", "").body
	c.action("there", "echo", exported+"]")
	c.must(200, "PUT", "triggers/t", "{}")
	for _, seed := range []struct{ method, path, contentType, body string }{
		{"PUT", "/api/v1/namespaces/_/actions/a?overwrite=true", "application/json", `{"exec":{"kind":"nodejs:default","code":"echo"},"limits":{"timeout":100}}`},
		{"PUT", "/api/v1/namespaces/_/actions/s?overwrite=true", "application/json", `{"exec":{"kind":"sequence","components":["/_/there","/canary/a"]}}`},
		{"POST", "/api/v1/namespaces/_/actions/there?blocking=true&result=true&timeout=1000", "", `{"a":[1,null,"\u0000"]}`},
		{"POST", "/api/v1/namespaces/canary/actions/a", "", `{}`},
		{"GET", "/api/v1/namespaces/_/actions?limit=3&skip=1&count=true", "", ""},
		{"PUT", "/api/v1/namespaces/_/packages/p?overwrite=true", "", `{"binding":{"namespace":"canary","name":"p"},"parameters":[{"key":"a","value":1}]}`},
		{"PUT", "/api/v1/namespaces/_/triggers/t?overwrite=true", "", `{"annotations":[{"key":"feed","value":"/whisk.system/alarms/alarm"}]}`},
		{"PUT", "/api/v1/namespaces/_/rules/r?overwrite=true", "", `{"trigger":{"path":"_","name":"t"},"action":"/_/there"}`},
		{"POST", "/api/v1/namespaces/_/triggers/t", "", `{"x":1e999}`},
		{"GET", "/api/v1/namespaces/_/activations?name=a/b&since=0&upto=9223372036854775807&docs=true", "", ""},
		{"GET", "/api/v1/namespaces/_/activations/00000000000000000000000000000000/logs", "", ""},
		{"POST", "/api/v1/web/ns/default/there.http/x/y?__ow_body=1", "application/x-www-form-urlencoded", "a=%zz"},
		{"POST", "/api/v1/namespaces/whisk.system/actions/alarms/alarm?blocking=true", "", `{"lifecycleEvent":"CREATE"}`},
		{"DELETE", "/api/v1/namespaces/%5f/actions/%2e%2e/%00", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.contentType, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, path, contentType string, body []byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(method, " \t\r\n\x00") || method == "" {
			return
		}
		request := httptest.NewRequestWithContext(t.Context(), "GET", "/", bytes.NewReader(body))
		request.Method, request.URL = method, u
		request.Header = http.Header{"Content-Type": {contentType}}
		request.SetBasicAuth(c.user, c.key)
		w := httptest.NewRecorder()
		s.api.Handler().ServeHTTP(w, request)
		if w.Code == http.StatusInternalServerError && w.Header().Get("X-OpenWhisk-Activation-Id") == "" || w.Code > 599 || w.Code < 200 {
			t.Fatalf("%s %s: %d %s\n%s", method, path, w.Code, w.Body, s.logs)
		}
		if strings.Contains(w.Body.String(), "canary-secret") {
			t.Fatalf("%s %s shows another namespace's secret", method, path)
		}
		web := strings.HasPrefix(u.Path, "/api/v1/web/")
		if w.Code >= 400 && !web && method != "HEAD" {
			var problem struct{ Error, Code string }
			if w.Code != http.StatusBadGateway && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || problem.Error == "" || problem.Code == "") {
				t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
		look := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/namespaces/_/actions/a", nil)
		look.SetBasicAuth(canary.user, canary.key)
		after := httptest.NewRecorder()
		s.api.Handler().ServeHTTP(after, look)
		if !bytes.Equal(after.Body.Bytes(), before) {
			t.Fatalf("%s %s changed another namespace: %s", method, path, after.Body)
		}
	})
}
