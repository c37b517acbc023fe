package openwhisk

import (
	"crypto/subtle"
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
	extension string // ".http" by default
	rest      string // the path after the action's name, as sent
	user      string // the namespace of the caller's key; empty if anonymous
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

// readWebPath reads the names, the extension and the rest from the path.
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

// authenticateWeb identifies a caller with a key. Any other is anonymous, because what it
// sent may be meant for the action. A valid key is not passed on to the action.
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

// authorized says whether the caller has what the annotation require-whisk-auth demands:
// a key if it is true, else its value in a header.
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

// invokeWeb converts the request to the action's input, runs the action on behalf of its
// namespace, and renders the result.
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
