package osb_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/services"
)

// Bodies of the tests. org and space are the deprecated members that Cloud
// Foundry sends.
const (
	small    = `{"service_id":"service-id","plan_id":"plan-small","organization_guid":"org","space_guid":"space"}`
	cascade  = `{"service_id":"service-id","plan_id":"plan-cascade","organization_guid":"org","space_guid":"space"}`
	slow     = `{"service_id":"service-id","plan_id":"plan-slow","organization_guid":"org","space_guid":"space"}`
	fixed    = `{"service_id":"service-id","plan_id":"plan-fixed","organization_guid":"org","space_guid":"space"}`
	appOnly  = `{"service_id":"service-id","plan_id":"plan-app","organization_guid":"org","space_guid":"space"}`
	bind     = `{"service_id":"service-id","plan_id":"plan-small"}`
	instance = "/v2/service_instances/$i"
	binding  = instance + "/service_bindings/$b"
	query    = "?service_id=service-id&plan_id=plan-small"
	async    = "?accepts_incomplete=true"
)

// with adds members to a body; where one is there already, the request is the
// test's own fault.
func with(body, members string) string { return strings.TrimSuffix(body, "}") + "," + members + "}" }

func provisioned() step { return sent("PUT "+instance, small, 201) }
func bound() step       { return sent("PUT "+binding, bind, 201) }

func originating(text string) string {
	return "X-Broker-API-Originating-Identity: " + text
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// What holds for every endpoint: who may come in, and with which headers.
func TestEveryRequest(t *testing.T) {
	t.Parallel()
	const unauthorized = `{"description":"~basic authentication"}`
	challenge := []string{`WWW-Authenticate: Basic realm="service broker", charset="UTF-8"`}
	w := newWire(t)
	w.run(t, []row{
		// Authentication comes before any other check.
		{name: "no credentials", send: "GET /v2/catalog", with: []string{"Authorization:"}, status: 401, answer: unauthorized, says: challenge},
		{name: "wrong password", send: "GET /v2/catalog", with: []string{"Authorization: Basic " + encoded("cf:wrong")}, status: 401, answer: unauthorized, says: challenge},
		{name: "unknown user", send: "GET /v2/catalog", with: []string{"Authorization: Basic " + encoded("x:cf-password")}, status: 401, answer: unauthorized, says: challenge},
		{
			name: "no credentials, no version and no such path", send: "GET /v3", with: []string{"Authorization:", "X-Broker-API-Version:"},
			status: 401, answer: unauthorized, says: challenge,
		},
		{
			name: "no credentials, wrong method", send: "POST /v2/catalog", with: []string{"Authorization:"},
			status: 401, answer: unauthorized, says: append(challenge, "Allow: "),
		},
		{
			name: "no credentials and a broken body", send: "PUT " + instance, with: []string{"Authorization:"}, body: "{",
			status: 401, answer: unauthorized, says: challenge,
		},
		{
			name: "the other of two passwords", send: "PUT " + instance, with: []string{"Authorization: Basic " + encoded("cf:old-password")},
			body: small, status: 201, answer: `{"dashboard_url":"*"}`,
		},

		// X-Broker-API-Version.
		{name: "no version", send: "PUT " + instance, with: []string{"X-Broker-API-Version:"}, body: small, status: 412, answer: `{"description":"~is missing"}`},
		{name: "no version on the catalog", send: "GET /v2/catalog", with: []string{"X-Broker-API-Version:"}, status: 412, answer: `{"description":"~is missing"}`},
		{name: "version 1.0", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 1.0"}, body: small, status: 412, answer: `{"description":"~2.17"}`},
		{name: "version 3.0", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 3.0"}, body: small, status: 412, answer: `{"description":"~2.17"}`},
		{name: "version 2", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 2"}, body: small, status: 412, answer: `{"description":"~2.17"}`},
		{name: "version 2.x", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 2.x"}, body: small, status: 412, answer: `{"description":"~2.17"}`},
		{name: "version 2.13", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 2.13"}, body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "version 2.99", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 2.99"}, body: small, status: 201, answer: `{"dashboard_url":"*"}`},

		// X-Broker-API-Originating-Identity.
		{
			name: "originating identity of Cloud Foundry", send: "PUT " + instance,
			with: []string{originating("cloudfoundry " + encoded(`{"user_id":"u"}`))}, body: small, status: 201, answer: `{"dashboard_url":"*"}`,
		},
		{
			name: "originating identity that is not base64", send: "PUT " + instance,
			with: []string{originating("cloudfoundry {}")}, body: small, status: 400, answer: `{"description":"~X-Broker-API-Originating-Identity"}`,
		},
		{
			name: "originating identity that is not an object", send: "GET /v2/catalog",
			with: []string{originating("cloudfoundry " + encoded(`"u"`))}, status: 400, answer: `{"description":"~X-Broker-API-Originating-Identity"}`,
		},

		// X-Broker-API-Request-Identity is echoed; see checkAnswer.
		{name: "request identity on a 404", send: "GET /v3", with: []string{"X-Broker-API-Request-Identity: e-1"}, status: 404, answer: `{"description":"~/v2/catalog"}`, says: []string{"X-Broker-API-Request-Identity: e-1"}},
		{name: "request identity made where none is sent", send: "GET /v3", with: []string{"X-Broker-API-Request-Identity:"}, status: 404, answer: `{"description":"~/v2/catalog"}`},

		// Paths and methods.
		{name: "no such path", send: "GET /", status: 404, answer: `{"description":"~/v2/catalog"}`},
		{name: "an empty instance id does not name the resource last_operation", given: []step{sent("PUT /v2/service_instances/last_operation", small, 201)}, send: "GET /v2/service_instances//last_operation", status: 404, answer: `{"description":"~/v2/catalog"}`},
		{name: "an empty binding id does not name the binding last_operation", send: "GET " + instance + "/service_bindings//last_operation", status: 404, answer: `{"description":"~/v2/catalog"}`},
		{name: "a deletion of an empty binding id", given: []step{provisioned()}, send: "DELETE " + instance + "/service_bindings/" + query, status: 404, answer: `{"description":"~/v2/catalog"}`},
		{name: "superfluous slashes", send: "PUT ///v2//service_instances/$i/", body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "superfluous slashes about an id with slashes", given: []step{sent("PUT /v2/service_instances/%2F$i%2F%2F", small, 201)}, send: "GET //v2/service_instances/%2F$i%2F%2F//last_operation", status: 200, answer: `{"state":"succeeded"}`},
		{name: "superfluous slashes and a wrong method", send: "POST //v2/catalog/", body: `{}`, status: 405, answer: `{"description":"~GET, HEAD"}`, says: []string{"Allow: GET, HEAD"}},
		{name: "empty instance id", send: "PUT /v2/service_instances/", body: small, status: 404, answer: `{"description":"~/v2/catalog"}`},
		{name: "empty binding id", send: "PUT " + instance + "/service_bindings/", body: bind, status: 404, answer: `{"description":"~/v2/catalog"}`},
		{name: "POST an instance", send: "POST " + instance, body: small, status: 405, answer: `{"description":"~GET, PUT, PATCH, DELETE"}`, says: []string{"Allow: GET, PUT, PATCH, DELETE"}},
		{name: "PATCH a binding", send: "PATCH " + binding, body: bind, status: 405, answer: `{"description":"~GET, PUT, DELETE"}`, says: []string{"Allow: GET, PUT, DELETE"}},
		{name: "PUT the catalog", send: "PUT /v2/catalog", body: `{}`, status: 405, answer: `{"description":"~GET, HEAD"}`, says: []string{"Allow: GET, HEAD"}},
		{name: "DELETE a last operation", send: "DELETE " + instance + "/last_operation", status: 405, answer: `{"description":"~GET"}`, says: []string{"Allow: GET"}},
		{name: "OPTIONS", send: "OPTIONS /v2/catalog", status: 405, answer: `{"description":"~GET, HEAD"}`, says: []string{"Allow: GET, HEAD"}},
		{name: "HEAD of an instance", send: "HEAD " + instance, status: 405},
		{name: "a method of its own", send: "BREW /v2/catalog", status: 405, answer: `{"description":"~GET, HEAD"}`},

		// IDs in the path.
		{name: "instance id of 255 characters", send: "PUT /v2/service_instances/" + strings.Repeat("%C3%A9", 255), body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "instance id of 256 characters", send: "PUT /v2/service_instances/" + strings.Repeat("x", 256), body: small, status: 400, answer: `{"description":"~instance_id in the path has more than 255 characters"}`},
		{name: "binding id of 256 characters", send: "PUT " + instance + "/service_bindings/" + strings.Repeat("x", 256), body: bind, status: 400, answer: `{"description":"~binding_id in the path has more than 255"}`},
		{name: "instance id with a NUL", send: "PUT /v2/service_instances/a%00b", body: small, status: 400, answer: `{"description":"~NUL"}`},
		{name: "binding id with a NUL", send: "DELETE " + instance + "/service_bindings/%00" + query, status: 400, answer: `{"description":"~binding_id in the path must not contain a NUL"}`},
		{name: "instance id that is not UTF-8", send: "GET /v2/service_instances/%ff", status: 400, answer: `{"description":"~UTF-8"}`},

		// The query.
		{name: "query that cannot be read", send: "GET " + instance + "?a=%zz", status: 400, answer: `{"description":"~query"}`},
		{name: "accepts_incomplete neither true nor false", send: "PUT " + instance + "?accepts_incomplete=yes", body: small, status: 400, answer: `{"description":"~accepts_incomplete"}`},
		{name: "accepts_incomplete in another case", send: "PUT " + instance + "?accepts_incomplete=True", body: small, status: 400, answer: `{"description":"~accepts_incomplete"}`},
		{name: "accepts_incomplete empty", send: "PATCH " + instance + "?accepts_incomplete=", body: small, status: 400, answer: `{"description":"~accepts_incomplete"}`},
		{name: "accepts_incomplete twice", send: "DELETE " + instance + query + "&accepts_incomplete=true&accepts_incomplete=false", status: 400, answer: `{"description":"~more than once"}`},
		{name: "accepts_incomplete on a bind", send: "PUT " + binding + "?accepts_incomplete=1", body: bind, status: 400, answer: `{"description":"~accepts_incomplete"}`},
		{name: "accepts_incomplete on an unbind", send: "DELETE " + binding + query + "&accepts_incomplete=1", status: 400, answer: `{"description":"~accepts_incomplete"}`},
		{name: "accepts_incomplete false", send: "PUT " + instance + "?accepts_incomplete=false", body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "NUL in the query", send: "GET " + instance + "/last_operation?operation=%00", status: 400, answer: `{"description":"~operation in the query"}`},
		{name: "query that is not UTF-8", send: "DELETE " + instance + "?service_id=%ff&plan_id=p", status: 400, answer: `{"description":"~service_id in the query"}`},
		{name: "unknown names in the query are ignored", send: "PUT " + instance + "?x=y", body: small, status: 201, answer: `{"dashboard_url":"*"}`},
	})
}

// What holds for every body.
func TestEveryBody(t *testing.T) {
	t.Parallel()
	const json = "Content-Type: application/json"
	w := newWire(t)
	for _, endpoint := range []string{"PUT " + instance, "PATCH " + instance, "PUT " + binding} {
		t.Run(endpoint, func(t *testing.T) {
			w.run(t, []row{
				{name: "none", send: endpoint, status: 400, answer: `{"description":"~the body is missing"}`},
				{name: "malformed", send: endpoint, body: `{"service_id":`, status: 400, answer: `{"description":"~the JSON ends too early"}`},
				{name: "not JSON", send: endpoint, body: `service_id=x`, status: 400, answer: `{"description":"~not valid JSON"}`},
				{name: "trailing bytes", send: endpoint, body: small + "{}", status: 400, answer: `{"description":"~more after the JSON object"}`},
				{name: "array", send: endpoint, body: "[" + small + "]", status: 400, answer: `{"description":"~must be a JSON object, not an array"}`},
				{name: "null", send: endpoint, body: "null", status: 400, answer: `{"description":"~must be a JSON object, not null"}`},
				{name: "not UTF-8", send: endpoint, body: "{\"service_id\":\"\xff\"}", status: 400, answer: `{"description":"~not UTF-8"}`},
				{name: "same name twice", send: endpoint, body: with(small, `"service_id":"x"`), status: 400, answer: `{"description":"~the same name twice"}`},
				{name: "same parameter twice", send: endpoint, body: with(small, `"parameters":{"a":1,"a":2}`), status: 400, answer: `{"description":"~the same name twice"}`},
				{name: "number out of range", send: endpoint, body: with(small, `"parameters":{"weight":1e999999999}`), status: 400, answer: `{"description":"~64-bit float"}`},
				{name: "nested without end", send: endpoint, body: `{"parameters":` + strings.Repeat(`[`, 1000) + strings.Repeat(`]`, 1000) + `}`, status: 400, answer: `{"description":"~deeper than 100"}`},
				{name: "over 1 MiB", send: endpoint, body: with(small, `"x":"`+strings.Repeat("x", 1<<20)+`"`), status: 413, answer: `{"description":"~1048576 bytes"}`},
				{name: "form", send: endpoint, with: []string{"Content-Type: application/x-www-form-urlencoded"}, body: small, status: 400, answer: `{"description":"~Content-Type"}`},
				{name: "XML", send: endpoint, with: []string{"Content-Type: text/xml"}, body: small, status: 400, answer: `{"description":"~Content-Type"}`},
				{name: "content type that is none", send: endpoint, with: []string{"Content-Type: ;"}, body: small, status: 400, answer: `{"description":"~Content-Type"}`},
				{name: "service_id a number", send: endpoint, with: []string{json}, body: `{"service_id":1,"plan_id":"p","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"service_id: must be a string, not a number"}`},
				{name: "plan_id an array", send: endpoint, body: `{"service_id":"s","plan_id":["p"],"organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"plan_id: must be a string, not an array"}`},
				{name: "parameters an array", send: endpoint, body: with(small, `"parameters":[1]`), status: 400, answer: `{"description":"parameters: must be an object, not an array"}`},
				{name: "parameters a string", send: endpoint, body: with(small, `"parameters":"{}"`), status: 400, answer: `{"description":"parameters: must be an object, not a string"}`},
				{name: "context a boolean", send: endpoint, body: with(small, `"context":false`), status: 400, answer: `{"description":"context: must be an object, not a boolean"}`},
				{name: "several faults at once", send: endpoint, body: `{"service_id":7,"plan_id":{},"organization_guid":"o","space_guid":"s","parameters":3}`, status: 400, answer: `{"description":"service_id: must be a string, not a number; plan_id: must be a string, not an object; parameters: must be an object, not a number"}`},
				{name: "service_id too long", send: endpoint, body: `{"service_id":"` + strings.Repeat("x", 256) + `","plan_id":"p","organization_guid":"o","space_guid":"s"}`, status: 400, answer: `{"description":"service_id: has more than 255 characters"}`},
			})
		})
	}
	w.run(t, []row{
		{name: "without a content type", send: "PUT " + instance, body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "JSON", send: "PUT " + instance, with: []string{json}, body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "JSON with a charset", send: "PUT " + instance, with: []string{json + `; charset="UTF-8"`}, body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{
			name: "unknown members are ignored, at every level", send: "PUT " + instance,
			body:   with(small, `"x":{"y":[1]},"context":{"platform":"cloudfoundry","x":1},"maintenance_info":{"version":"1.2.3","x":1}`),
			status: 201, answer: `{"dashboard_url":"*"}`,
		},
		{name: "members have one spelling", send: "PUT " + instance, body: with(small, `"SERVICE_ID":"other"`), status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "a delete's body is ignored", given: []step{provisioned()}, send: "DELETE " + instance + query, body: "{", status: 200, answer: `{}`},
	})
}

func TestVersionMayBeOptional(t *testing.T) {
	t.Parallel()
	newWire(t, func(o *osb.Options) { o.RequireVersion = false }).run(t, []row{
		{name: "no version", send: "PUT " + instance, with: []string{"X-Broker-API-Version:"}, body: small, status: 201, answer: `{"dashboard_url":"*"}`},
		{name: "a version that is not supported", send: "PUT " + instance, with: []string{"X-Broker-API-Version: 1.0"}, body: small, status: 412, answer: `{"description":"~2.17"}`},
	})
}

// IDs are any text. What they mean to paths, SQL, names and shells must not
// matter, and no two of them may meet.
func TestHostileIDs(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	ids := []string{
		"%2F", "a%2Fb", "a%2Fb%2Flast_operation", ".", "..", "%2E%2E", "..%2F..%2Fetc%2Fpasswd", "%252F", "%20", "+", "a+b", "a%20b", "%3F", "%23",
		"'%3B%20drop%20table%20instances%3B--", "%22", "%5C", "$(reboot)", "%60id%60", "last_operation", "service_bindings",
		"%F0%9F%94%A5", "e%CC%81", "%C3%A9", "%E2%80%AE", "%0A", "A", "a", strings.Repeat("%2F", 255), "%7Binstance_id%7D", "@", ":", ";", "&", "=",
	}
	usual := func(path string) string { return "/v2/service_instances/" + path }
	for _, id := range ids {
		t.Run(id, func(t *testing.T) {
			for _, step := range []struct {
				send, body string
				status     int
			}{
				{"GET " + usual(id), "", 404}, // "..", "%2E%2E" are one ID: the first is deleted by the time of the second
				{"PUT " + usual(id), small, 201},
				{"PUT " + usual(id), small, 200},
				{"GET " + usual(id), "", 200},
				{"GET " + usual(id) + "/last_operation", "", 200},
				{"PUT " + usual(id) + "/service_bindings/" + id, bind, 201},
				{"GET " + usual(id) + "/service_bindings/" + id, "", 200},
				{"GET " + usual(id) + "/service_bindings/" + id + "/last_operation", "", 200},
				{"DELETE " + usual(id) + "/service_bindings/" + id + query, "", 200},
				{"PATCH " + usual(id), `{"service_id":"service-id","plan_id":"plan-large"}`, 200},
				{"DELETE " + usual(id) + query, "", 200},
				{"DELETE " + usual(id) + query, "", 410},
			} {
				if got := w.do(t, step.send, nil, step.body); got.status != step.status {
					t.Fatalf("%s: %d %s, want %d", step.send, got.status, got.body, step.status)
				}
			}
		})
	}
	if instances, bindings := w.Backend.Size(); instances+bindings != 0 {
		t.Errorf("left behind: %d instances, %d bindings", instances, bindings)
	}
}

// The catalog, and how platforms find out that they have it already (RFC 9110,
// section 13).
func TestCatalog(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	body, etag := string(w.Catalog.JSON()), w.Catalog.ETag()
	w.run(t, []row{
		{name: "the catalog", send: "GET /v2/catalog", status: 200, answer: body, says: []string{"ETag: " + etag}},
		{name: "its head", send: "HEAD /v2/catalog", status: 200, says: []string{"ETag: " + etag, "Content-Type: application/json"}},
		{name: "same tag", send: "GET /v2/catalog", with: []string{"If-None-Match: " + etag}, status: 304, says: []string{"ETag: " + etag}},
		{name: "same tag, weak", send: "GET /v2/catalog", with: []string{"If-None-Match: W/" + etag}, status: 304},
		{name: "same tag in a list", send: "GET /v2/catalog", with: []string{`If-None-Match: "a,b", W/"c" , ` + etag}, status: 304},
		{name: "any tag", send: "GET /v2/catalog", with: []string{"If-None-Match: *"}, status: 304},
		{name: "same tag, head", send: "HEAD /v2/catalog", with: []string{"If-None-Match: " + etag}, status: 304},
		{name: "another tag", send: "GET /v2/catalog", with: []string{`If-None-Match: "x"`}, status: 200, answer: body},
		{name: "other tags", send: "GET /v2/catalog", with: []string{`If-None-Match: "x", W/"y",`}, status: 200, answer: body},
		{name: "not a tag", send: "GET /v2/catalog", with: []string{"If-None-Match: " + strings.Trim(etag, `"`)}, status: 200, answer: body},
		{name: "tag without its end", send: "GET /v2/catalog", with: []string{`If-None-Match: "x`}, status: 200, answer: body},
		{name: "a range is not for JSON", send: "GET /v2/catalog", with: []string{"Range: bytes=0-1"}, status: 200, answer: body},
	})
	if !strings.HasPrefix(body, `{"services":[`) {
		t.Errorf("the catalog begins with %.20s", body)
	}
	if got := w.do(t, "HEAD /v2/catalog", nil, ""); got.header.Get("Content-Length") == "" || got.header.Get("Content-Length") == "0" {
		t.Errorf("Content-Length of the head: %q", got.header.Get("Content-Length"))
	}
}

// Another platform's instances do not exist, and an ID that it uses is taken.
func TestPlatformsAreApart(t *testing.T) {
	t.Parallel()
	k8s := []string{"Authorization: Basic " + encoded("k8s:k8s-password")}
	given := []step{provisioned(), bound()}
	newWire(t).run(t, []row{
		{name: "fetch", given: given, send: "GET " + instance, with: k8s, status: 404, answer: `{"description":"*"}`},
		{name: "poll", given: given, send: "GET " + instance + "/last_operation", with: k8s, status: 404, answer: `{"description":"*"}`},
		{name: "update", given: given, send: "PATCH " + instance, with: k8s, body: bind, status: 404, answer: `{"description":"*"}`},
		{name: "deprovision", given: given, send: "DELETE " + instance + query, with: k8s, status: 410, answer: `{"description":"*"}`},
		{name: "bind", given: given, send: "PUT " + instance + "/service_bindings/k8s-$b", with: k8s, body: bind, status: 404, answer: `{"description":"*"}`},
		{name: "bind again", given: given, send: "PUT " + binding, with: k8s, body: bind, status: 404, answer: `{"description":"*"}`},
		{name: "rotate", given: given, send: "PUT " + instance + "/service_bindings/k8s-$b", with: k8s, body: `{"predecessor_binding_id":"$b"}`, status: 400, answer: `{"description":"*"}`},
		{name: "fetch the binding", given: given, send: "GET " + binding, with: k8s, status: 404, answer: `{"description":"*"}`},
		{name: "poll the binding", given: given, send: "GET " + binding + "/last_operation", with: k8s, status: 404, answer: `{"description":"*"}`},
		{name: "unbind", given: given, send: "DELETE " + binding + query, with: k8s, status: 410, answer: `{"description":"*"}`},
		{name: "provision under the same id", given: given, send: "PUT " + instance, with: k8s, body: small, status: 409, answer: `{"description":"the instance id is in use"}`},
	})
}

// A log line tells who asked for what and how it ended, and nothing that was
// sent or handed out.
func TestLog(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.do(t, "PUT /v2/service_instances/i%2F1", []string{originating("cloudfoundry " + encoded(`{"user_id":"the-user"}`))},
		with(small, `"parameters":{"colour":"sent-secret"}`))
	got := w.do(t, "PUT /v2/service_instances/i%2F1/service_bindings/b1?x=query-secret", nil, bind)
	w.do(t, "GET /v2/service_instances/i%2F1", []string{"Authorization: Basic " + encoded("cf:tried-secret")}, "")
	w.do(t, "PUT /v2/service_instances/i2", nil, with(small, `"parameters":{"colour":["refused-secret"]}`))
	w.make("provision", "i3", services.Rejected(`parameters.colour: there is no "quoted-secret" paint`))
	w.do(t, "PUT /v2/service_instances/i3", nil, with(small, `"parameters":{"colour":"quoted-secret"}`))
	log := w.log.String()
	for _, want := range []string{
		`"msg":"request answered","route":"/v2/service_instances/{instance_id}","method":"PUT","code":201,"duration_ms":`,
		`"request_id":"request-1","platform":"cf","instance_id":"i/1","binding_id":"b1"`,
		`"code":401`,
		`"description":"parameters.colour: must be a string, not an array"`,
		`"description":"parameters.colour: there is no \"[...]\" paint"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	var answer struct {
		Credentials struct{ Password string } `json:"credentials"`
	}
	decode(t, got.body, &answer)
	for _, secret := range []string{
		"sent-secret", "query-secret", "tried-secret", "refused-secret", "quoted-secret", "cf-password", encoded("cf:cf-password"), answer.Credentials.Password, "the-user",
	} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
}

// The audit record names the platform, the user that the platform names, and
// the request.
func TestAuditKnowsTheCaller(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.do(t, "PUT /v2/service_instances/i1", []string{originating("cloudfoundry " + encoded(`{"user_id":"the-user"}`))}, small)
	var platform, user, request string
	err := w.Store.Pool.QueryRow(t.Context(),
		"select platform, originating->'value'->>'user_id', request_id from audit where instance_id = 'i1' and event = 'accepted'").
		Scan(&platform, &user, &request)
	if err != nil || platform != "cf" || user != "the-user" || request != "request-1" {
		t.Errorf("platform %q, user %q, request %q, %v", platform, user, request, err)
	}
}

// What the broker cannot do without is away: 5xx, and the catalog still answers.
func TestStateDatabaseAway(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	w.Store.Pool.Close()
	for _, send := range []string{"GET /v2/service_instances/i1", "GET /v2/service_instances/i1/last_operation", "DELETE /v2/service_instances/i1" + query} {
		if got := w.do(t, send, nil, ""); got.status < 500 || strings.Contains(got.body, "pool") {
			t.Errorf("%s: %d %s", send, got.status, got.body)
		}
	}
	if got := w.do(t, "GET /v2/catalog", nil, ""); got.status != http.StatusOK {
		t.Errorf("catalog: %d", got.status)
	}
}

// A state database that ran out of something, or takes no writes, is asked again
// later; the request is not at fault.
func TestStateDatabaseExhausted(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := w.Store.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for i, code := range []string{"53100", "53200", "53300", "53400", "57P03", "25006", "40P01"} {
		exec(`create or replace function refuse() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = '` + code + `'; end $$`)
		exec(`create or replace trigger refuse before insert on operations for each row execute function refuse()`)
		send := fmt.Sprintf("PUT /v2/service_instances/exhausted-%d", i)
		if got := w.do(t, send, nil, small); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, Retry-After %q", code, got.status, got.body, got.header.Get("Retry-After"))
		}
		exec("drop trigger refuse on operations")
		if got := w.do(t, send, nil, small); got.status != http.StatusCreated {
			t.Errorf("afterwards: %d %s", got.status, got.body)
		}
	}
	if w.Store.Exhausted() == nil {
		t.Error("the state does not know that it was exhausted")
	}
}

// A body whose length is not announced is limited all the same.
func TestBodyOfUnknownLength(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for _, c := range []struct {
		name string
		size int
		want int
	}{{"below the limit", 1 << 10, 201}, {"over the limit", 3 << 20, 413}} {
		t.Run(c.name, func(t *testing.T) {
			body := io.MultiReader(strings.NewReader(with(small, `"x":"`+strings.Repeat("x", c.size)+`"`)))
			r, err := http.NewRequestWithContext(t.Context(), "PUT", w.url+"/v2/service_instances/i1", body)
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth("cf", "cf-password")
			r.Header.Set("X-Broker-API-Version", "2.17")
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != c.want {
				t.Errorf("answered %s, want %d", answer.Status, c.want)
			}
		})
	}
}
