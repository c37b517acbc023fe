package openwhisk

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

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

// webCall is a request to a web action.
type webCall struct {
	*call
	extension string // ".http" where the path has none
	rest      string // what follows the action's name in the path, as it was sent
	user      string // the namespace of the caller's key; empty: anonymous
}

// web serves /web/{namespace}/{package or default}/{action}[.extension]/…
// (WhiskWebActionsApi).
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
	t, err := a.resolve(c.Context(), a.Store.Pool, of(c.namespace), c.qualified)
	if _, refused := errors.AsType[*problem](err); refused {
		return errNotFound // and nothing of what is there
	}
	if err != nil {
		return err
	}
	if !t.annotations.is(webAnnotation) || t.native != nil {
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
		return errUnauthenticated
	}
	return a.invokeWeb(c, t)
}

func (c *webCall) allowAnyOrigin() {
	allowAnyOrigin(c.w.Header(), webMethods)
	if asked := c.Header.Get("Access-Control-Request-Headers"); asked != "" {
		c.w.Header().Set("Access-Control-Allow-Headers", asked)
	}
}

// readWebPath takes the names, the extension and the rest out of the path.
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

// authenticateWeb finds out who calls, where that is somebody with a key; else the
// caller is anonymous, whatever it sent: it may be meant for the action. A key
// that is good goes no further.
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

// authorized says whether the caller has what annotation require-whisk-auth asks
// for: a key, where it is true, or its own value in a header.
func (c *webCall) authorized(annotations keyValues) bool {
	raw := annotations.get(requireAuthAnnotation)
	if raw == nil || string(raw) == "false" {
		return true
	}
	if string(raw) == "true" {
		return c.user != ""
	}
	var want any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if d.Decode(&want) != nil {
		return false
	}
	var secret string
	switch w := want.(type) {
	case string:
		secret = w
	case json.Number:
		secret = w.String()
	default:
		return false
	}
	given := c.Header.Get(requireAuthHeader)
	return len(c.Header.Values(requireAuthHeader)) > 0 && subtle.ConstantTimeCompare([]byte(given), []byte(secret)) == 1
}

// invokeWeb reads the request as the action gets it, runs it in the name of its
// namespace, and renders what it returns.
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
	}, func() { a.answer(c.call, errNotReady) })
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
