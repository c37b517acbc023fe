package sandbox

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCGI(t *testing.T) {
	p := open(t)
	o := run(t, p, guestCode(t, "web"), nil, func(c *Call) {
		c.CGI = true
		c.Input = []byte("the body")
		c.Env = map[string]string{
			"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8",
			"HTTP_HOST": "example.org", "SCRIPT_NAME": "", "PATH_INFO": "/some/path", "REQUEST_URI": "/some/path", "HTTP_X_COLOUR": "red",
		}
	})
	if o.Status != Success || o.Result != nil {
		t.Fatalf("%s: %s, log %v", o.Status, o.Result, o.Logs)
	}
	answer, err := ParseCGI(o.Output)
	if err != nil {
		t.Fatalf("%v: %q", err, o.Output)
	}
	if answer.Status != http.StatusTeapot || string(answer.Body) != "/some/path red the body" || answer.Header.Get("X-Method") != "POST" {
		t.Errorf("%+v, body %q", answer, answer.Body)
	}
}

func TestCGIFailures(t *testing.T) {
	p := open(t)
	cgi := func(c *Call) { c.CGI = true; c.Limits.ResultBytes = 100 }
	o := run(t, p, guestCode(t, "guest"), fields{"do": "long", "bytes": 200}, cgi)
	if o.Status != DeveloperError || !strings.Contains(string(o.Result), "exceeded the allowed length: 212 > 100 bytes") {
		t.Errorf("%s: %s", o.Status, o.Result)
	}
	if o = run(t, p, guestCode(t, "guest"), fields{"do": "exit", "count": 1}, cgi); o.Status != DeveloperError || o.Output != nil {
		t.Errorf("%s: %s", o.Status, o.Output)
	}
}

func TestParseCGI(t *testing.T) {
	for name, test := range map[string]struct {
		output string
		want   Response
		err    string
	}{
		"document":          {"Content-Type: text/plain\r\n\r\nhi", Response{Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("hi")}, ""},
		"bare line feeds":   {"Content-Type: text/plain\n\nhi\r\n", Response{Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("hi\r\n")}, ""},
		"status":            {"Status: 404 Not Found\nContent-Type: a/b\n\n", Response{Status: 404, Header: http.Header{"Content-Type": {"a/b"}}, Body: []byte{}}, ""},
		"status alone":      {"Status: 204\n\n", Response{Status: 204, Header: http.Header{}, Body: []byte{}}, ""},
		"redirect":          {"Location: https://example.org/\n\n", Response{Status: 302, Header: http.Header{"Location": {"https://example.org/"}}, Body: []byte{}}, ""},
		"local redirect":    {"Location: /other?a=b\n\n", Response{Status: 302, Header: http.Header{"Location": {"/other?a=b"}}, Body: []byte{}, LocalRedirect: "/other?a=b"}, ""},
		"several cookies":   {"Set-Cookie: a=1\nSet-Cookie: b=2\nContent-Type: a/b\n\n", Response{Status: 200, Header: http.Header{"Set-Cookie": {"a=1", "b=2"}, "Content-Type": {"a/b"}}, Body: []byte{}}, ""},
		"connection fields": {"Connection: X-Hop\nX-Hop: 1\nTransfer-Encoding: chunked\nContent-Length: 9\nContent-Type: a/b\n\n", Response{Status: 200, Header: http.Header{"Content-Type": {"a/b"}}, Body: []byte{}}, ""},
		"empty":             {"", Response{}, "section 6.2"},
		"no header":         {"hello\n\nworld", Response{}, "section 6.2"},
		"no known field":    {"X: y\n\n", Response{}, "none of the header fields"},
		"status of text":    {"Status: fine\n\n", Response{}, "must be a number"},
		"status too small":  {"Status: 101 Switching\n\n", Response{}, "must be a number"},
		"many fields":       {strings.Repeat("X: y\n", 10) + manyFields() + "\n", Response{}, "more than 500"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCGI([]byte(test.output))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q in it", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v; (-want +got): %s", err, diff)
			}
		})
	}
}

func manyFields() string {
	var b strings.Builder
	for i := range 600 {
		b.WriteString("X-" + strings.Repeat("a", i+1) + ": 1\n")
	}
	return b.String()
}
