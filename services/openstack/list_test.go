package openstack

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// pages answers like versions of Keystone that split lists, and gives links to another address, as
// behind a proxy.
func pages(t *testing.T, answers map[string]string) *gophercloud.ServiceClient {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, answers[r.URL.Query().Get("marker")])
	}))
	t.Cleanup(server.Close)
	return &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: server.URL + "/"}
}

func TestList(t *testing.T) {
	const next = `"links": {"next": "http://127.0.0.1:1/elsewhere?marker=%s"}`
	for _, test := range []struct {
		name    string
		answers map[string]string
		want    int
		err     string
	}{
		{"one page", map[string]string{"": `{"users": [{"id": "a"}, {"id": "b"}], "links": {"next": null}}`}, 2, ""},
		{"no links", map[string]string{"": `{"users": []}`}, 0, ""},
		{"two pages", map[string]string{"": `{"users": [{"id": "a"}], ` + fmt.Sprintf(next, "a") + `}`, "a": `{"users": [{"id": "b"}]}`}, 2, ""},
		{"cut off", map[string]string{"": `{"users": [{"id": "a"}], "truncated": true}`}, 0, "raise list_limit"},
		{"another answer", map[string]string{"": `{"projects": []}`}, 0, "a list without users"},
		{"a circle", map[string]string{"": `{"users": [{"id": "a"}], ` + fmt.Sprintf(next, "a") + `}`, "a": `{"users": [{"id": "b"}], ` + fmt.Sprintf(next, "a") + `}`}, 0, "more than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := pages(t, test.answers)
			found, err := list(testContext(t), client, "users", client.Endpoint+"users")
			if len(found) != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
}

// The operator reads what to set if the catalog does not have the service, or has several.
func TestChoose(t *testing.T) {
	entry := tokens.CatalogEntry{Type: "dns", Endpoints: []tokens.Endpoint{
		{Interface: "public", Region: "one", URL: "http://one"}, {Interface: "public", Region: "two", URL: "http://two"},
		{Interface: "internal", Region: "one", URL: "http://internal"},
	}}
	for _, test := range []struct{ name, region, kind, want, err string }{
		{"a region", "two", "public", "http://two", ""},
		{"no region, and one endpoint", "", "internal", "http://internal", ""},
		{"no region, and two endpoints", "", "public", "", "region: is missing: Keystone's catalog has Designate in one, two"},
		{"an unknown region", "three", "public", "", "no Designate in three, only in one, two"},
		{"an absent interface", "one", "admin", "", "interface: Keystone's catalog has no admin endpoint of Designate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &Cloud{config: Config{Region: test.region}, service: testService}
			found, err := c.choose(entry, test.kind)
			if found.url != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
}

// Errors of all services have one form.
func TestReadFailure(t *testing.T) {
	for _, test := range []struct{ body, kind, message string }{
		{`{"error": {"code": 409, "message": "Conflict occurred", "title": "Conflict"}}`, "Conflict", "Conflict occurred"},
		{`{"code": 413, "type": "over_quota", "message": "Quota exceeded for zones.", "request_id": "req-1"}`, "over_quota", "Quota exceeded for zones."},
		{`{"code": 400, "type": "invalid_object", "errors": {"errors": [{"path": ["records", 0], "message": "is not a TXT"}]}}`, "invalid_object", "is not a TXT"},
		{`{"itemNotFound": {"code": 404, "message": "Share could not be found."}}`, "itemNotFound", "Share could not be found."},
		{`{"error": {"message": "a\nb\u0000c"}}`, "", "a b c"},
		{`<html>Bad gateway</html>`, "", ""},
		{`"text"`, "", ""},
		{`null`, "", ""},
		{``, "", ""},
	} {
		if kind, message := readFailure([]byte(test.body)); kind != test.kind || message != test.message {
			t.Errorf("%s: %q, %q", test.body, kind, message)
		}
	}
}
