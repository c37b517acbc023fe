package openwhisk_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const exported = `"annotations":[{"key":"web-export","value":true}`

// web calls a web action anonymously.
func (c *client) web(method, path, body string, header ...string) reply {
	c.t.Helper()
	request := c.request(method, "/api/v1/web/"+c.namespace+"/"+path, body)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	return c.server.do(request)
}

// A web action's result is rendered as the extension requests.
func TestWebOutput(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	pixel := base64.StdEncoding.EncodeToString([]byte{0x89, 'P', 'N', 'G', 0xff})
	for name, test := range map[string]struct {
		code, extension string
		status          int
		contentType     string
		body            string
	}{
		"text":              {`answer {"body":"<p>"}`, "", 200, "text/html; charset=UTF-8", "<p>"},
		"text, .http":       {`answer {"body":"<p>"}`, ".http", 200, "text/html; charset=UTF-8", "<p>"},
		"typed text":        {`answer {"headers":{"content-type":"text/plain"},"body":"é"}`, "", 200, "text/plain; charset=UTF-8", "é"},
		"JSON":              {`answer {"statusCode":201,"body":{"a":[1.50]}}`, "", 201, "application/json", `{"a":[1.50]}`},
		"typed JSON":        {`answer {"headers":{"Content-Type":"application/problem+json"},"body":[1]}`, "", 200, "application/problem+json", `[1]`},
		"JSON as text":      {`answer {"headers":{"Content-Type":"application/json"},"body":"{\"a\":1}"}`, "", 200, "application/json", `{"a":1}`},
		"JSON in base64":    {`answer {"headers":{"Content-Type":"application/json"},"body":"eyJhIjoxfQ=="}`, "", 200, "application/json", `{"a":1}`},
		"binary":            {`answer {"headers":{"Content-Type":"image/png"},"body":"` + pixel + `"}`, "", 200, "image/png", "\x89PNG\xff"},
		"SVG as text":       {`answer {"headers":{"Content-Type":"image/svg+xml"},"body":"<svg/>"}`, "", 200, "image/svg+xml", "<svg/>"},
		"empty":             {`answer {}`, "", 204, "", ""},
		"empty text":        {`answer {"statusCode":"200","body":""}`, "", 200, "", ""},
		"redirect":          {`answer {"statusCode":302,"headers":{"location":"/x"}}`, "", 302, "", ""},
		"application error": {`fail {"error":{"statusCode":404,"body":"gone"}}`, "", 404, "text/html; charset=UTF-8", "gone"},
		".json":             {`answer {"a":1}`, ".json", 200, "application/json", `{"a":1}`},
		".json of an error": {`fail {"error":{"b":1}}`, ".json", 200, "application/json", `{"b":1}`},
		".html":             {`answer {"html":"<p>"}`, ".html", 200, "text/html; charset=UTF-8", "<p>"},
		".html of body":     {`answer {"body":"<b>","html":"<p>"}`, ".html", 200, "text/html; charset=UTF-8", "<b>"},
		".svg":              {`answer {"svg":"<svg/>"}`, ".svg", 200, "image/svg+xml", "<svg/>"},
		".text":             {`answer {"text":"é"}`, ".text", 200, "text/plain; charset=UTF-8", "é"},
		".text of a number": {`answer {"body":1.50}`, ".text", 200, "text/plain; charset=UTF-8", "1.50"},
		".text of an error": {`fail {"error":"no"}`, ".text", 200, "text/plain; charset=UTF-8", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			c.action("w", test.code, exported+"]")
			got := c.web("GET", "default/w"+test.extension, "")
			if got.status != test.status || got.header.Get("Content-Type") != test.contentType || string(got.body) != test.body {
				t.Errorf("%d %s %q", got.status, got.header.Get("Content-Type"), got.body)
			}
			if got.header.Get("Access-Control-Allow-Origin") != "*" || len(got.header.Get("X-OpenWhisk-Activation-Id")) != 32 {
				t.Errorf("headers %v", got.header)
			}
		})
	}
	c.action("w", `answer {"headers":{"Set-Cookie":["a=1","b=2"],"X-N":7,"X-B":true,"Content-Length":"1","Connection":"close"},"body":"long enough"}`, exported+"]")
	got := c.web("GET", "default/w", "")
	if cookies := got.header.Values("Set-Cookie"); len(cookies) != 2 || got.header.Get("X-N") != "7" || got.header.Get("X-B") != "true" || string(got.body) != "long enough" {
		t.Errorf("headers %v, body %q", got.header, got.body)
	}
}

// A result that cannot be rendered is a 400 with the reason.
func TestWebOutputRefused(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	http := "Response is not valid 'message/http'."
	for name, test := range map[string]struct {
		code, extension string
		status          int
		message         string
	}{
		"status of no number":   {`answer {"statusCode":"ok"}`, "", 400, http},
		"status that is none":   {`answer {"statusCode":99}`, "", 400, http},
		"status with fraction":  {`answer {"statusCode":200.5}`, "", 400, http},
		"headers are no object": {`answer {"headers":[]}`, "", 400, http},
		"header is an object":   {`answer {"headers":{"a":{}}}`, "", 400, http},
		"header of no name":     {`answer {"headers":{"a b":"c"}}`, "", 400, http},
		"header that splits":    {`answer {"headers":{"a":"b\r\nc: d"}}`, "", 400, http},
		"error is a string":     {`fail {"error":"no"}`, "", 400, http},
		"object as text":        {`answer {"headers":{"content-type":"text/plain"},"body":{}}`, "", 400, "Response type in header did not match generated content type."},
		"binary is no base64":   {`answer {"headers":{"content-type":"image/png"},"body":"%"}`, "", 400, "Response type in header did not match generated content type."},
		"type that is none":     {`answer {"headers":{"content-type":"/"},"body":"x"}`, "", 400, "Response did not specify a known content-type."},
		"developer error":       {"crash", "", 400, "There was an error processing your request."},
		"internal error":        {"lose", ".json", 400, "There was an error processing your request."},
		".json of a string":     {`fail {"error":"no"}`, ".json", 400, "Response is not valid 'application/json'."},
		".html of nothing":      {`answer {}`, ".html", 400, "Response is not valid 'text/html'."},
		".html of a number":     {`answer {"html":1}`, ".html", 400, "Response is not valid 'text/html'."},
		".svg of nothing":       {`answer {}`, ".svg", 400, "Response is not valid 'image/svg+xml'."},
		".text of nothing":      {`answer {}`, ".text", 404, "Response does not include requested property."},
	} {
		t.Run(name, func(t *testing.T) {
			c.action("w", test.code, exported+"]")
			got := c.web("GET", "default/w"+test.extension, "")
			if got.status != test.status || messageOf(t, got) != test.message {
				t.Errorf("%d %q", got.status, messageOf(t, got))
			}
		})
	}
}

// A web action's input describes the request.
func TestWebInput(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.must(200, "PUT", "packages/p", `{"parameters":[{"key":"a","value":1},{"key":"b","value":1},{"key":"c","value":1}]}`)
	for name, test := range map[string]struct {
		method, path, contentType, body string
		annotations                     string
		want                            string
	}{
		"nothing":          {"GET", "", "", "", "", `{"__ow_method":"get","__ow_path":"","a":1,"b":2,"c":1}`},
		"path and query":   {"DELETE", "/x%2Fy//z?c=3&c=4&d=%C3%A9", "", "", "", `{"__ow_method":"delete","__ow_path":"/x%2Fy//z","a":1,"b":2,"c":"4","d":"é"}`},
		"extension":        {"GET", ".json/x", "", "", "", `{"__ow_method":"get","__ow_path":"/x","a":1,"b":2,"c":1}`},
		"JSON":             {"POST", "?c=3&d=3", "application/json; charset=utf-8", `{"d":4}`, "", `{"__ow_method":"post","__ow_path":"","a":1,"b":2,"c":"3","d":4}`},
		"JSON, no object":  {"PUT", "", "application/json", `[1]`, "", `{"__ow_method":"put","__ow_path":"","__ow_body":[1],"a":1,"b":2,"c":1}`},
		"form":             {"POST", "?d=3", "application/x-www-form-urlencoded", `d=x+y&e=`, "", `{"__ow_method":"post","__ow_path":"","d":"x y","e":"","a":1,"b":2,"c":1}`},
		"text":             {"PATCH", "", "text/plain", `héllo`, "", `{"__ow_method":"patch","__ow_path":"","__ow_body":"héllo","a":1,"b":2,"c":1}`},
		"binary":           {"POST", "", "image/png", "\xff\x00", "", `{"__ow_method":"post","__ow_path":"","__ow_body":"/wA=","a":1,"b":2,"c":1}`},
		"raw":              {"POST", "?c=3", "text/plain", `x`, `,{"key":"raw-http","value":true}`, `{"__ow_method":"post","__ow_path":"","__ow_query":"c=3","__ow_body":"x","a":1,"b":2,"c":1}`},
		"raw JSON":         {"POST", "?c=3", "application/json", `{"d":4}`, `,{"key":"raw-http","value":true}`, `{"__ow_method":"post","__ow_path":"","__ow_query":"c=3","__ow_body":"eyJkIjo0fQ==","a":1,"b":2,"c":1}`},
		"raw nothing":      {"GET", "", "", ``, `,{"key":"raw-http","value":true}`, `{"__ow_method":"get","__ow_path":"","__ow_query":"","__ow_body":"","a":1,"b":2,"c":1}`},
		"raw, of the same": {"GET", "?__ow_path=x", "", ``, `,{"key":"raw-http","value":true}`, `{"__ow_method":"get","__ow_path":"","__ow_query":"__ow_path=x","__ow_body":"","a":1,"b":2,"c":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			c.do("DELETE", "actions/p/w", "") // annotations of an action that is there are merged
			c.action("p/w", "echo", `"parameters":[{"key":"b","value":2}]`, exported+test.annotations+"]")
			got := c.web(test.method, "p/w.json"+strings.TrimPrefix(test.path, ".json"), test.body, "Content-Type", test.contentType, "X-Custom", "Value")
			if got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			v := got.json(t)
			headers := v["__ow_headers"].(map[string]any)
			if headers["x-custom"] != "Value" || headers["host"] == "" {
				t.Errorf("headers %v", headers)
			}
			same(t, "input", v, test.want, "__ow_headers")
		})
	}
}

// A web action refuses invalid requests.
func TestWebRefused(t *testing.T) {
	small := plan()
	small.PayloadBytes = 300
	c := newServer(t, newRunner()).tenant("ns", small)
	c.action("w", "echo", `"parameters":[{"key":"fixed","value":1},{"key":"open","value":null}]`, exported+`,{"key":"final","value":true}]`)
	c.action("private", "echo")
	json := []string{"Content-Type", "application/json"}
	for name, test := range map[string]struct {
		method, path, body string
		header             []string
		status             int
	}{
		"not exported":         {"GET", "default/private", "", nil, 404},
		"no action":            {"GET", "default/none", "", nil, 404},
		"no package":           {"GET", "none/w", "", nil, 404},
		"no namespace":         {"GET", "../nobody/default/w", "", nil, 404},
		"own namespace":        {"GET", "../_/default/w", "", nil, 404},
		"system":               {"GET", "../whisk.system/alarms/alarm", "", nil, 404},
		"a fixed parameter":    {"GET", "default/w?fixed=2", "", nil, 400},
		"fixed, in the body":   {"POST", "default/w", `{"fixed":2}`, json, 400},
		"reserved":             {"GET", "default/w?__ow_method=put", "", nil, 400},
		"reserved in the body": {"POST", "default/w", `{"__ow_user":"me"}`, json, 400},
		"no JSON":              {"POST", "default/w", `{`, json, 400},
		"too large":            {"POST", "default/w", strings.Repeat("x", 301), nil, 413},
		"TRACE":                {"TRACE", "default/w", "", nil, 405},
		"what is open":         {"GET", "default/w.json?open=1", "", nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			path := "/api/v1/web/ns/" + test.path
			if rest, up := strings.CutPrefix(test.path, "../"); up {
				path = "/api/v1/web/" + rest
			}
			request := c.request(test.method, path, test.body)
			if test.header != nil {
				request.Header.Set(test.header[0], test.header[1])
			}
			if got := c.server.do(request); got.status != test.status {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}

// The annotation require-whisk-auth demands a key or a secret. The action never gets a key
// of the platform.
func TestWebAuthentication(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for name, test := range map[string]struct {
		value          string
		header, secret string
		status         int
		user           any
	}{
		"a key":                {"true", "Authorization", basic(c.user, c.key), 200, "ns"},
		"a wrong key":          {"true", "Authorization", basic(c.user, "x"), 401, nil},
		"no key":               {"true", "X-A", "b", 401, nil},
		"not asked for":        {"false", "Authorization", basic("alice", "secret"), 200, nil},
		"a secret":             {`"s3cret"`, "X-Require-Whisk-Auth", "s3cret", 200, nil},
		"a number":             {`12`, "X-Require-Whisk-Auth", "12", 200, nil},
		"a wrong secret":       {`"s3cret"`, "X-Require-Whisk-Auth", "s3cre", 401, nil},
		"no secret":            {`""`, "X-A", "b", 401, nil},
		"annotation of no use": {`{}`, "X-Require-Whisk-Auth", "", 401, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.action("w", "echo", exported+`,{"key":"require-whisk-auth","value":`+test.value+`}]`)
			got := c.web("GET", "default/w.json", "", test.header, test.secret)
			if got.status != test.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if got.status != 200 {
				return
			}
			var in struct {
				User    any               `json:"__ow_user"`
				Headers map[string]string `json:"__ow_headers"`
			}
			if err := json.Unmarshal(r.last().Input, &in); err != nil {
				t.Fatal(err)
			}
			if in.User != test.user || strings.Contains(in.Headers["authorization"], basic(c.user, c.key)) {
				t.Errorf("%+v", in)
			}
		})
	}
}

// Cross-origin requests are allowed, unless the action answers OPTIONS itself.
func TestCORS(t *testing.T) {
	c := newServer(t, newRunner()).tenant("ns", plan())
	c.action("w", "echo", exported+"]")
	got := c.web("OPTIONS", "default/w", "", "Access-Control-Request-Headers", "X-Mine")
	if got.status != 200 || len(got.body) > 0 || got.header.Get("Access-Control-Allow-Headers") != "X-Mine" || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	c.action("w", `answer {"headers":{"Access-Control-Allow-Methods":"GET"},"statusCode":200}`, exported+`,{"key":"web-custom-options","value":true},{"key":"require-whisk-auth","value":true}]`)
	got = c.web("OPTIONS", "default/w", "")
	if got.status != 200 || got.header.Get("Access-Control-Allow-Methods") != "GET" || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if got := c.web("GET", "default/w", ""); got.status != 401 {
		t.Errorf("another method: %d", got.status)
	}
	api := c.server.do(c.request("OPTIONS", "/api/v1/namespaces/_/actions", ""))
	if api.status != 200 || api.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(api.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("the API: %d %v", api.status, api.header)
	}
}

// A CGI program gets the request as in RFC 3875, and the client gets its response
// unchanged.
func TestCGI(t *testing.T) {
	r := newRunner()
	c := newServer(t, r).tenant("ns", plan())
	deploy := func(code string) {
		t.Helper()
		c.must(200, "PUT", "actions/p?overwrite=true", `{"exec":{"kind":"wasm:default","code":"`+base64.StdEncoding.EncodeToString([]byte(code))+`"},
			"parameters":[{"key":"COLOUR","value":"blue"},{"key":"HTTP_HOST","value":"evil"},{"key":"list","value":[1]}],`+exported+`,{"key":"cgi","value":true}]}`)
	}
	deploy("cgi " + `Status: 418 Teapot\nContent-Type: image/png\nSet-Cookie: a=1\nSet-Cookie: b=2\n\n` + "\xff\x00x")
	got := c.web("POST", "default/p/a%20b/c?x=1&y", "body\xff", "Content-Type", "text/plain", "X-Two", "1", "Proxy", "evil", "Cookie", "k=v")
	if got.status != http.StatusTeapot || string(got.body) != "\xff\x00x" || got.header.Get("Content-Type") != "image/png" || len(got.header.Values("Set-Cookie")) != 2 {
		t.Errorf("%d %v %q", got.status, got.header, got.body)
	}
	call := r.last()
	host := strings.TrimPrefix(c.url, "http://")
	address, port, _ := strings.Cut(host, ":")
	want := map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": address, "SERVER_PORT": port, "SERVER_SOFTWARE": "chandler",
		"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/api/v1/web/ns/default/p", "PATH_INFO": "/a b/c", "QUERY_STRING": "x=1&y",
		"REQUEST_URI": "/api/v1/web/ns/default/p/a%20b/c?x=1&y", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "5", "REMOTE_ADDR": "127.0.0.1",
		"HTTP_HOST": host, "HTTP_X_TWO": "1", "HTTP_COOKIE": "k=v", "COLOUR": "blue", "list": "[1]", "__OW_NAMESPACE": "ns",
	}
	for name, value := range want {
		if call.Env[name] != value {
			t.Errorf("%s=%q, want %q", name, call.Env[name], value)
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS", "__OW_API_KEY", "HTTP_CONTENT_TYPE"} {
		if value, there := call.Env[name]; there {
			t.Errorf("%s=%s", name, value)
		}
	}
	if !call.CGI || string(call.Input) != "body\xff" {
		t.Errorf("input %q", call.Input)
	}
	id := got.header.Get("X-OpenWhisk-Activation-Id")
	same(t, "record", c.must(200, "GET", "activations/"+id+"/result", "").json(t)["result"],
		`{"statusCode":418,"headers":{"content-type":"image/png","set-cookie":["a=1","b=2"]},"body":"/wB4"}`)
	deploy("cgi " + `Content-Type: text/plain\n\nhello`)
	same(t, "invoked", c.must(200, "POST", "actions/p?blocking=true&result=true", `{"a":1}`).json(t), `{"statusCode":200,"headers":{"content-type":"text/plain"},"body":"hello"}`)
	if in := string(r.last().Input); in != `{"COLOUR":"blue","HTTP_HOST":"evil","a":1,"list":[1]}` || r.last().Env["REQUEST_METHOD"] != "POST" || r.last().Env["CONTENT_TYPE"] != "application/json" {
		t.Errorf("input %s", in)
	}
	deploy("cgi nonsense")
	if got := c.web("GET", "default/p", ""); got.status != 400 || messageOf(t, got) != "There was an error processing your request." {
		t.Errorf("no response: %d %s", got.status, got.body)
	}
	if got := c.must(502, "POST", "actions/p?blocking=true&result=true", ""); !strings.Contains(string(got.body), "RFC 3875") {
		t.Errorf("%s", got.body)
	}
}
