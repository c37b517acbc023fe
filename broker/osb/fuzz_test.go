package osb_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/osb"
)

// legal are the statuses that the specification and its HTTP know; 5xx is only
// for a backend or a database at fault, and here none is.
var legal = []int{200, 201, 202, 304, 400, 401, 404, 405, 409, 410, 412, 413, 422}

// FuzzRequest sends anything at all to the whole broker: it never fails, and
// always answers JSON with a status that platforms understand.
func FuzzRequest(f *testing.F) {
	h := newWire(f, func(o *osb.Options) { o.Logger = slog.New(slog.DiscardHandler) }).handler // millions of lines else
	const path = "/v2/service_instances/i1"
	for _, seed := range []struct{ method, target, version, originating, contentType, body string }{
		{"GET", "/v2/catalog", "2.17", "", "", ""},
		{"HEAD", "/v2/catalog", "2.13", "", "", ""},
		{"PUT", path, "2.17", "cloudfoundry " + encoded(`{"user_id":"u"}`), "application/json", with(small, `"parameters":{"colour":"red"}`)},
		{"PUT", path + "?accepts_incomplete=true", "2.17", "", "application/json; charset=utf-8", slow},
		{"GET", path, "2.17", "", "", ""},
		{"PATCH", path, "2.17", "", "application/json", `{"service_id":"service-id","plan_id":"plan-large","previous_values":{}}`},
		{"PUT", path + "/service_bindings/b1", "2.17", "", "", bind},
		{"PUT", path + "/service_bindings/b2", "2.17", "", "", `{"predecessor_binding_id":"b1"}`},
		{"GET", path + "/service_bindings/b1", "2.17", "", "", ""},
		{"GET", path + "/service_bindings/b1/last_operation?operation=x", "2.17", "", "", ""},
		{"GET", path + "/last_operation", "2.17", "", "", ""},
		{"DELETE", path + "/service_bindings/b1" + query, "2.17", "", "", ""},
		{"DELETE", path + query + "&accepts_incomplete=true", "2.17", "", "", ""},
		{"POST", "/v2/%2F/..", "3", "x", "text/plain", "{"},
		{"PUT", "/v2/service_instances/%00%ff", "", "", "", small},
	} {
		f.Add(seed.method, seed.target, seed.version, seed.originating, seed.contentType, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, target, version, originating, contentType string, body []byte) {
		location, err := url.ParseRequestURI(target)
		if err != nil || method == "" || strings.ContainsAny(method, " \r\n") {
			t.Skip("net/http itself refuses it")
		}
		r := &http.Request{
			Method: method, URL: location, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "broker",
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body))), ContentLength: -1,
		}
		r = r.WithContext(t.Context())
		r.SetBasicAuth("cf", "cf-password")
		for name, value := range map[string]string{
			"X-Broker-API-Version": version, "X-Broker-API-Originating-Identity": originating, "Content-Type": contentType,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if !slices.Contains(legal, answer.Code) {
			t.Fatalf("answered %d %s", answer.Code, answer.Body)
		}
		if method == http.MethodHead || answer.Code == http.StatusNotModified {
			return
		}
		if !json.Valid(answer.Body.Bytes()) {
			t.Fatalf("answered %d with what is not JSON: %q", answer.Code, answer.Body)
		}
		checkAnswer(t, r, got{answer.Code, answer.Header(), answer.Body.String()})
	})
}
