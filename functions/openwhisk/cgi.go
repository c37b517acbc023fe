package openwhisk

import (
	"encoding/base64"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/functions/sandbox"
)

// cgiAnnotation marks a CGI program (RFC 3875), such as one with Go's net/http/cgi.
const cgiAnnotation = "cgi"

func isCGI(x action) bool {
	return x.annotations.is(cgiAnnotation) && sandboxKind(x.kind) == sandbox.WASM
}

// checkCGI refuses the annotation on other kinds of actions.
func checkCGI(x action) error {
	if x.annotations.is(cgiAnnotation) && sandboxKind(x.kind) != sandbox.WASM {
		return refuse(http.StatusBadRequest, "Annotation 'cgi' is for kinds wasm:default and wasm:wasi, not for '%s'.", x.kind)
	}
	return nil
}

// cgiRequest is a request as a CGI program sees it.
type cgiRequest struct {
	method       string
	script, path string // the path to the program, and the rest, decoded
	uri, query   string // as sent
	protocol     string
	host, remote string
	https        bool
	header       http.Header
	body         []byte
}

// postRequest posts the parameters of a CGI program that is invoked as an action.
func postRequest(input []byte) *cgiRequest {
	return &cgiRequest{
		method: http.MethodPost, path: "/", uri: "/", protocol: "HTTP/1.1", host: "localhost",
		header: http.Header{"Content-Type": {"application/json"}}, body: input,
	}
}

// variables sets the request's meta-variables (RFC 3875, section 4.1) in env.
func (q *cgiRequest) variables(env map[string]string) {
	for name := range env {
		if strings.HasPrefix(name, "HTTP_") || strings.HasPrefix(name, "HTTPS") {
			delete(env, name) // a parameter must not look like a header
		}
	}
	host, port, err := net.SplitHostPort(q.host)
	if err != nil {
		host, port = q.host, "80"
		if q.https {
			port = "443"
		}
	}
	for name, value := range map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "chandler", "SERVER_PROTOCOL": q.protocol,
		"SERVER_NAME": host, "SERVER_PORT": port, "REMOTE_ADDR": q.remote, "REMOTE_HOST": q.remote,
		"REQUEST_METHOD": q.method, "SCRIPT_NAME": q.script, "PATH_INFO": q.path, "QUERY_STRING": q.query, "REQUEST_URI": q.uri,
		"CONTENT_LENGTH": strconv.Itoa(len(q.body)), "CONTENT_TYPE": q.header.Get("Content-Type"), "HTTP_HOST": q.host,
	} {
		env[name] = value
	}
	if q.https {
		env["HTTPS"] = "on"
	}
	for name, values := range q.header {
		switch name {
		case "Content-Type", "Content-Length", "Proxy", "Host": // Proxy: httpoxy (CVE-2016-5385)
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; " // RFC 6265, section 4.2.1
		}
		env["HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = strings.Join(values, separator)
	}
}

// setCGI reads the program's output, and records it in the form that a web action returns.
func (p *performed) setCGI(output []byte) {
	answer, err := sandbox.ParseCGI(output)
	if err != nil {
		p.failed(developerError, err.Error())
		return
	}
	if answer.LocalRedirect != "" {
		answer.Status = http.StatusFound // the client follows it
	}
	p.answer = &answer
	body := string(answer.Body)
	if !utf8.ValidString(body) || !isText(answer.Header.Get("Content-Type")) {
		body = base64.StdEncoding.EncodeToString(answer.Body)
	}
	headers := map[string]any{}
	for name, values := range answer.Header {
		headers[strings.ToLower(name)] = values
		if len(values) == 1 {
			headers[strings.ToLower(name)] = values[0]
		}
	}
	p.result = toJSON(map[string]any{"statusCode": answer.Status, "headers": headers, "body": body})
}
