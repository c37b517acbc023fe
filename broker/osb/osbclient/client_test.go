package osbclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// sent is what reached the server.
type sent struct {
	Line string // method and URL, as they were on the wire
	Body string
}

// server answers every request with the answer, and keeps what it was sent.
func server(t *testing.T, answer http.HandlerFunc) (osbclient.Options, *[]sent) {
	t.Helper()
	var got []sent
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, sent{r.Method + " " + r.RequestURI, string(body)})
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return osbclient.Options{URL: s.URL, Username: "user", Password: "p@ss:word"}, &got
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func client(t *testing.T, o osbclient.Options) *osbclient.Client {
	t.Helper()
	c, err := osbclient.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequests(t *testing.T) {
	const hostile = `a/b c?d#e%2F"ü`
	const escaped = "a%2Fb%20c%3Fd%23e%252F%22%C3%BC"
	tests := []struct {
		name string
		call func(context.Context, *osbclient.Client) error
		want sent
	}{
		{"catalog", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Catalog(ctx)
			return err
		}, sent{"GET /v2/catalog", ""}},
		{"provision", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Provision(ctx, hostile, osbclient.ProvisionRequest{
				ServiceID: "s", PlanID: "p", OrganizationGUID: "o", SpaceGUID: "sp", Context: map[string]any{"platform": "x"},
				Parameters: json.RawMessage(`{"a":1}`), MaintenanceInfo: &osbclient.MaintenanceInfo{Version: "1.0.0"},
				AcceptsIncomplete: true,
			})
			return err
		}, sent{"PUT /v2/service_instances/" + escaped + "?accepts_incomplete=true",
			`{"service_id":"s","plan_id":"p","organization_guid":"o","space_guid":"sp","context":{"platform":"x"},` +
				`"parameters":{"a":1},"maintenance_info":{"version":"1.0.0"}}`}},
		{"provision, little", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Provision(ctx, "..", osbclient.ProvisionRequest{ServiceID: "s", PlanID: "p"})
			return err
		}, sent{"PUT /v2/service_instances/%2E%2E", `{"service_id":"s","plan_id":"p"}`}},
		{"fetch", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.FetchInstance(ctx, "i", "s&", "p")
			return err
		}, sent{"GET /v2/service_instances/i?plan_id=p&service_id=s%26", ""}},
		{"fetch without hints", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.FetchInstance(ctx, "i", "", "")
			return err
		}, sent{"GET /v2/service_instances/i", ""}},
		{"update", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Update(ctx, "i", osbclient.UpdateRequest{
				ServiceID: "s", PlanID: "q", AcceptsIncomplete: true, PreviousValues: &osbclient.PreviousValues{PlanID: "p"},
			})
			return err
		}, sent{"PATCH /v2/service_instances/i?accepts_incomplete=true",
			`{"service_id":"s","plan_id":"q","previous_values":{"plan_id":"p"}}`}},
		{"deprovision", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Deprovision(ctx, "i", osbclient.DeleteRequest{ServiceID: "s", PlanID: "p", AcceptsIncomplete: true})
			return err
		}, sent{"DELETE /v2/service_instances/i?accepts_incomplete=true&plan_id=p&service_id=s", ""}},
		{"last operation", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.LastOperation(ctx, "i", osbclient.Poll{ServiceID: "s", PlanID: "p", Operation: "o/1", Deletion: true})
			return err
		}, sent{"GET /v2/service_instances/i/last_operation?operation=o%2F1&plan_id=p&service_id=s", ""}},
		{"bind", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Bind(ctx, "i", hostile, osbclient.BindRequest{
				ServiceID: "s", PlanID: "p", AppGUID: "a", BindResource: &osbclient.BindResource{AppGUID: "a"},
				Parameters: map[string]any{"role": "read_only"},
			})
			return err
		}, sent{"PUT /v2/service_instances/i/service_bindings/" + escaped,
			`{"service_id":"s","plan_id":"p","app_guid":"a","bind_resource":{"app_guid":"a"},"parameters":{"role":"read_only"}}`}},
		{"rotate", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Bind(ctx, "i", "b2", osbclient.BindRequest{PredecessorBindingID: "b1", AcceptsIncomplete: true})
			return err
		}, sent{"PUT /v2/service_instances/i/service_bindings/b2?accepts_incomplete=true", `{"predecessor_binding_id":"b1"}`}},
		{"fetch a binding", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.FetchBinding(ctx, "i", "b", "s", "p")
			return err
		}, sent{"GET /v2/service_instances/i/service_bindings/b?plan_id=p&service_id=s", ""}},
		{"last operation of a binding", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.LastBindingOperation(ctx, "i", "b", osbclient.Poll{})
			return err
		}, sent{"GET /v2/service_instances/i/service_bindings/b/last_operation", ""}},
		{"unbind", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Unbind(ctx, "i", "b", osbclient.DeleteRequest{ServiceID: "s", PlanID: "p"})
			return err
		}, sent{"DELETE /v2/service_instances/i/service_bindings/b?plan_id=p&service_id=s", ""}},
		{"raw", func(ctx context.Context, c *osbclient.Client) error {
			_, err := c.Do(ctx, osbclient.Request{Method: "PUT", Path: "/v2/x", Query: url.Values{"a": {"1", "2"}}, Body: []byte("{")})
			return err
		}, sent{"PUT /v2/x?a=1&a=2", "{"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, got := server(t, answer(200, `{}`))
			if err := test.call(t.Context(), client(t, o)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]sent{test.want}, *got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	tests := []struct {
		name    string
		options osbclient.Options
		request osbclient.Request
		want    map[string]string
	}{
		{"by default", osbclient.Options{Username: "u", Password: "p:"}, osbclient.Request{},
			map[string]string{"X-Broker-Api-Version": "2.17", "Authorization": "Basic dTpwOg=="}},
		{"without a user", osbclient.Options{}, osbclient.Request{Body: map[string]any{}},
			map[string]string{"X-Broker-Api-Version": "2.17", "Content-Type": "application/json"}},
		{"identities and version", osbclient.Options{
			Version: "2.13", RequestIdentity: func() string { return "r1" },
			Originating: &osbclient.Identity{Platform: "cloudfoundry", Value: map[string]string{"user_id": "u"}},
		}, osbclient.Request{}, map[string]string{
			"X-Broker-Api-Version": "2.13", "X-Broker-Api-Request-Identity": "r1",
			"X-Broker-Api-Originating-Identity": "cloudfoundry eyJ1c2VyX2lkIjoidSJ9",
		}},
		{"replaced and removed", osbclient.Options{Username: "u"}, osbclient.Request{
			Body:   []byte("x"),
			Header: http.Header{"Content-Type": {"text/plain"}, "X-Broker-Api-Version": nil, "Authorization": nil},
		}, map[string]string{"Content-Type": "text/plain"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := make(map[string]string)
			o, _ := server(t, func(_ http.ResponseWriter, r *http.Request) {
				for key := range r.Header {
					if strings.HasPrefix(key, "X-") || key == "Authorization" || key == "Content-Type" {
						got[key] = r.Header.Get(key)
					}
				}
			})
			test.options.URL = o.URL
			test.request.Method, test.request.Path = http.MethodPut, "/v2/x"
			if _, err := client(t, test.options).Do(t.Context(), test.request); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name    string
		options osbclient.Options
		want    string
	}{
		{"no URL", osbclient.Options{}, "the broker's URL must be http://HOST or https://HOST"},
		{"no scheme", osbclient.Options{URL: "localhost:8080"}, "the broker's URL must be http://HOST or https://HOST"},
		{"no URL at all", osbclient.Options{URL: "http://u:hunter2@ho st"}, "the broker's URL must be http://HOST or https://HOST"},
		{"a password", osbclient.Options{URL: "http://u:hunter2@host"},
			"the broker's URL must not contain a user and password; give them separately"},
		{"a query", osbclient.Options{URL: "http://host/?a=b"},
			"the broker's URL must end with its path: no query and no fragment"},
		{"an identity that is no object", osbclient.Options{URL: "http://host", Originating: &osbclient.Identity{Platform: "p", Value: 1}},
			"an originating identity is the platform's name, in one word, and a JSON object"},
		{"an identity of no platform", osbclient.Options{URL: "http://host", Originating: &osbclient.Identity{Value: struct{}{}}},
			"an originating identity is the platform's name, in one word, and a JSON object"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := osbclient.New(test.options)
			if err == nil {
				t.Fatal("the options were accepted")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestURLWithPath(t *testing.T) {
	o, got := server(t, answer(200, `{}`))
	o.URL += "/broker%2Fa/"
	if _, err := client(t, o).Catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	if (*got)[0].Line != "GET /broker%2Fa/v2/catalog" {
		t.Errorf("sent %s", (*got)[0].Line)
	}
}

func TestAnswers(t *testing.T) {
	o, _ := server(t, answer(202, `{
		"operation": "op", "credentials": {"uri": "x"}, "syslog_drain_url": "syslog://x", "parameters": {"a": 1},
		"endpoints": [{"host": "h", "ports": ["5432"], "protocol": "tcp"}], "metadata": {"expires_at": "2026-01-01T00:00:00.0Z"}
	}`, "Retry-After", "5"))
	got, err := client(t, o).Bind(t.Context(), "i", "b", osbclient.BindRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Accepted() || got.Header.Get("Retry-After") != "5" || len(got.Body) == 0 {
		t.Errorf("raw answer: %d %v", got.Status, got.Header)
	}
	got.Response = osbclient.Response{}
	want := osbclient.Binding{
		Operation: "op", Credentials: map[string]any{"uri": "x"}, SyslogDrainURL: "syslog://x",
		Endpoints:  []osbclient.Endpoint{{Host: "h", Ports: []string{"5432"}, Protocol: "tcp"}},
		Metadata:   &osbclient.BindingMetadata{ExpiresAt: "2026-01-01T00:00:00.0Z"},
		Parameters: json.RawMessage(`{"a": 1}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	no := false
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   osbclient.Error
		text   string
	}{
		{"a code", answer(422, `{"error": "AsyncRequired", "description": "poll"}`),
			osbclient.Error{Code: "AsyncRequired", Description: "poll"},
			"the broker answered 422 Unprocessable Entity: AsyncRequired: poll"},
		{"flags", answer(500, `{"description": "broke", "instance_usable": false}`),
			osbclient.Error{Description: "broke", InstanceUsable: &no},
			"the broker answered 500 Internal Server Error: broke"},
		{"a proxy's page", answer(502, `<html>`), osbclient.Error{}, "the broker answered 502 Bad Gateway"},
		{"wrong types", answer(400, `{"error": 5, "description": "x"}`), osbclient.Error{}, "the broker answered 400 Bad Request"},
		{"a redirect", answer(302, ``, "Location", "http://127.0.0.1:1/"), osbclient.Error{}, "the broker answered 302 Found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, _ := server(t, test.answer)
			answer, err := client(t, o).Provision(t.Context(), "i", osbclient.ProvisionRequest{})
			got, ok := errors.AsType[*osbclient.Error](err)
			if !ok {
				t.Fatalf("the error is %v", err)
			}
			if got.Status != answer.Status || got.Status == 0 || string(got.Body) != string(answer.Body) {
				t.Errorf("the raw answers differ: %d and %d", got.Status, answer.Status)
			}
			if diff := cmp.Diff(test.text, err.Error()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			got.Response = osbclient.Response{}
			if diff := cmp.Diff(test.want, *got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"an empty body", answer(200, ``), "the broker answered 200 with a body that violates the protocol"},
		{"a wrong type", answer(201, `{"operation": 5}`), "the broker answered 201 with a body that violates the protocol"},
		{"too much", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(endless{}, 17<<20))
		}, "the broker's answer has more than 16777216 bytes"},
		{"a cut connection", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "{")
		}, "read the broker's answer: unexpected EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, _ := server(t, test.answer)
			_, err := client(t, o).Deprovision(t.Context(), "i", osbclient.DeleteRequest{})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("the error is %v, not %s", err, test.want)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestCatalog(t *testing.T) {
	o, _ := server(t, answer(200, `{"services": [{"id": "s", "name": "database", "bindable": true, "plans": [
		{"id": "p", "name": "small", "binding_rotatable": true, "maintenance_info": {"version": "1.0.0"}},
		{"id": "q", "name": "large", "bindable": false}]}]}`, "ETag", `"x"`))
	c, err := client(t, o).Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, p, ok := c.Find("database", "small")
	if !ok || s.ID != "s" || p.ID != "p" || !p.IsBindable(s) || !p.BindingRotatable || c.Header.Get("ETag") != `"x"` {
		t.Errorf("found %+v, %+v, %t", s, p, ok)
	}
	if s, p, ok = c.Find("database", "large"); !ok || p.IsBindable(s) {
		t.Errorf("found %+v, %+v, %t", s, p, ok)
	}
	if _, _, ok = c.Find("queue", "small"); ok {
		t.Error("found a service that does not exist")
	}
}

func TestPrintsTellNoPassword(t *testing.T) {
	c := client(t, osbclient.Options{URL: "http://127.0.0.1:1", Username: "user", Password: "hunter2"})
	_, err := c.Catalog(t.Context())
	if err == nil {
		t.Fatal("there was an answer")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", c, c, c, err); strings.Contains(text, "hunter2") || strings.Contains(text, "dXNlcjpodW50ZXIy") {
		t.Errorf("the password shows: %s", text)
	}
}
