package openwhisk

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"
)

const (
	webAnnotation           = "web-export"
	rawAnnotation           = "raw-http"
	customOptionsAnnotation = "web-custom-options"
	requireAuthAnnotation   = "require-whisk-auth"

	requireAuthHeader = "X-Require-Whisk-Auth"
	webMethods        = "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"
)

type webCall struct {
	*call
	extension string // ".http" by default
	rest      string // the path after the action's name, as sent
	user      string // the namespace of the caller's key; empty if anonymous
}

// web serves /web/{namespace}/{package}/{action}[.extension]/… (WhiskWebActionsApi).
func (a *API) web(w http.ResponseWriter, r *http.Request) {
	c := newCall(w, r)
	a.answer(c, a.serveWeb(&webCall{call: c}))
}

func (a *API) serveWeb(c *webCall) error {
	if !slices.Contains(strings.Split(webMethods, ", "), c.Method) {
		return errMethod
	}
	if err := c.readWebPath(); err != nil {
		return err
	}
	if err := a.authenticateWeb(c); err != nil {
		return err
	}
	t, err := a.resolve(c.Context(), a.Store.Pool, namespaceCredentials(c.namespace), c.qualified)
	if _, refused := errors.AsType[*problem](err); refused {
		return errNotFound // without telling what exists
	}
	if err != nil {
		return err
	}
	if !t.annotations.is(webAnnotation) || t.native() {
		return errNotFound
	}
	custom := t.annotations.is(customOptionsAnnotation)
	if !custom {
		c.allowAnyOrigin()
		if c.Method == http.MethodOptions {
			return nil
		}
	}
	if !(custom && c.Method == http.MethodOptions) && !c.authorized(t.annotations) {
		return refuse(http.StatusUnauthorized, "The supplied authentication is not authorized to access this web action.")
	}
	return a.invokeWeb(c, t)
}

func (c *webCall) allowAnyOrigin() {
	allowAnyOrigin(c.w.Header(), webMethods)
	if asked := c.Header.Get("Access-Control-Request-Headers"); asked != "" {
		c.w.Header().Set("Access-Control-Allow-Headers", asked)
	}
}

func (c *webCall) readWebPath() error {
	c.extension = ".http"
	if err := c.readPath(""); err != nil {
		return errNotFound
	}
	for _, extension := range []string{".http", ".json", ".html", ".svg", ".text"} {
		if base, found := strings.CutSuffix(c.name, extension); found {
			c.name, c.extension = base, extension
			break
		}
	}
	if c.namespace == "" || !validName(c.name) {
		return errNotFound
	}
	if c.pkg == "default" {
		c.pkg = ""
	}
	vars := mux.Vars(c.Request)
	prefix := "/api/v1/web/" + vars["namespace"] + "/" + vars["package"] + "/" + vars["name"]
	c.rest = strings.TrimPrefix(c.URL.EscapedPath(), prefix)
	return nil
}

// authenticateWeb identifies a caller with a valid key, which the action does not get.
func (a *API) authenticateWeb(c *webCall) error {
	credentials, err := a.read(c.Request)
	if err != nil {
		return nil
	}
	who, err := a.identify(c.Context(), credentials)
	if errors.Is(err, errBadCredentials) {
		return nil
	}
	if err != nil {
		return err
	}
	c.user = who.namespace
	c.Header.Del("Authorization")
	return nil
}

// authorized checks require-whisk-auth: true demands a key, another value the same in a header.
func (c *webCall) authorized(annotations keyValues) bool {
	raw := annotations.get(requireAuthAnnotation)
	if raw == nil || string(raw) == "false" {
		return true
	}
	if string(raw) == "true" {
		return c.user != ""
	}
	secret, valid := scalar(raw)
	given := c.Header.Values(requireAuthHeader)
	return valid && len(given) > 0 && subtle.ConstantTimeCompare([]byte(given[0]), []byte(secret)) == 1
}

// invokeWeb runs the action on behalf of its namespace, and renders the result.
func (a *API) invokeWeb(c *webCall, t target) error {
	body, err := c.body(t.who.limits.PayloadBytes)
	if err != nil {
		return err
	}
	inv := c.invocation(t, nil)
	if isCGI(t.action) {
		inv.cgi = c.cgiRequest(body)
	} else if inv.payload, err = c.arguments(t, body); err != nil {
		return err
	}
	return a.invoke(c.call, inv, longestWait, func(p performed) {
		if p.answer != nil {
			c.relay(p)
			return
		}
		a.answer(c.call, c.render(p))
	}, func() { a.answer(c.call, refuse(http.StatusAccepted, "Response not yet ready.")) })
}

func (c *webCall) cgiRequest(body []byte) *cgiRequest {
	remote, _, err := net.SplitHostPort(c.RemoteAddr)
	if err != nil {
		remote = c.RemoteAddr
	}
	path, err := url.PathUnescape(c.rest)
	if err != nil {
		path = c.rest
	}
	return &cgiRequest{
		method: c.Method, script: strings.TrimSuffix(c.URL.Path, path), path: path, uri: c.URL.RequestURI(), query: c.URL.RawQuery,
		protocol: c.Proto, host: c.Host, remote: remote, https: c.TLS != nil || c.Header.Get("X-Forwarded-Proto") == "https",
		header: c.Header, body: body,
	}
}

// The properties of a web action's input that describe the request.
const (
	webMethod  = "__ow_method"
	webHeaders = "__ow_headers"
	webPath    = "__ow_path"
	webUser    = "__ow_user"
	webQuery   = "__ow_query"
	webBody    = "__ow_body"
)

// arguments are the description, the query and the body, which may not override what is fixed.
func (c *webCall) arguments(t target, body []byte) (object, error) {
	args := c.describe()
	if t.annotations.is(rawAnnotation) {
		args[webQuery] = toJSON(c.URL.RawQuery)
		args[webBody] = c.opaque(body)
		return args, nil
	}
	sent := object{}
	for name, values := range c.URL.Query() {
		sent[name] = toJSON(values[len(values)-1])
	}
	opaque, err := c.structured(body, sent)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{webMethod, webHeaders, webPath, webUser, webQuery, webBody} {
		if _, there := sent[name]; there {
			return nil, errOverrides
		}
	}
	if err := t.allows(sent.keys()); err != nil {
		return nil, err
	}
	maps.Copy(args, sent)
	if opaque != nil {
		args[webBody] = opaque
	}
	return args, nil
}

func (c *webCall) describe() object {
	headers := object{"host": toJSON(c.Host)}
	for name, values := range c.Header {
		headers[strings.ToLower(name)] = toJSON(strings.Join(values, ", "))
	}
	args := object{webMethod: toJSON(strings.ToLower(c.Method)), webHeaders: headers.encode(), webPath: toJSON(c.rest)}
	if c.user != "" {
		args[webUser] = toJSON(c.user)
	}
	return args
}

// structured adds an object or a form to sent, or returns the value of __ow_body.
func (c *webCall) structured(body []byte, sent object) (opaque json.RawMessage, err error) {
	media := mediaType(c.Header.Get("Content-Type"))
	switch {
	case len(body) == 0:
		return nil, nil
	case media == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, malformed("the body is not a form")
		}
		for name, values := range form {
			sent[name] = toJSON(values[len(values)-1])
		}
		return nil, nil
	case isJSON(media):
		if !json.Valid(body) || !utf8.Valid(body) {
			return nil, malformed("the body is not JSON")
		}
		var o object
		if json.Unmarshal(body, &o) != nil || o == nil {
			return body, nil
		}
		maps.Copy(sent, o)
		return nil, nil
	}
	return c.opaque(body), nil
}

// opaque is text unchanged, and other types and JSON in base64, as in OpenWhisk.
func (c *webCall) opaque(body []byte) json.RawMessage {
	media := mediaType(c.Header.Get("Content-Type"))
	if len(body) == 0 {
		return toJSON("")
	}
	if media == "application/json" || !isText(media) {
		return toJSON(base64.StdEncoding.EncodeToString(body))
	}
	return toJSON(strings.ToValidUTF8(string(body), "\uFFFD"))
}

func mediaType(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return media
}

func isJSON(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// isText says whether content of a type is text; all other content is binary.
func isText(contentType string) bool {
	media := mediaType(contentType)
	if strings.HasPrefix(media, "text/") || isJSON(media) {
		return true
	}
	switch media {
	case "application/xml", "application/javascript", "application/x-javascript", "application/x-www-form-urlencoded":
		return true
	}
	return strings.HasSuffix(media, "+xml") && media != "image/svg+xml"
}
