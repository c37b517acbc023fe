// Package osb is the Open Service Broker API 2.17 over HTTP. It decodes requests and
// checks their form, calls the broker, and turns results and errors into answers. The rules
// of the lifecycle are the broker's.
package osb

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/catalog"
)

// Options configure a Handler. Only Observe may be nil.
type Options struct {
	Broker  *broker.Broker
	Catalog *catalog.Catalog
	// Authenticator authenticates the platforms.
	Authenticator *auth.Authenticator
	Logger        *slog.Logger
	// RequireVersion answers 412 to requests without X-Broker-API-Version. An
	// unsupported version is refused in any case.
	RequireVersion bool
	// Observe is called with every answer. The route is the path's pattern or "unknown",
	// the method one of HTTP's or "other": both have few values, whatever clients send.
	Observe func(route, method string, code int, took time.Duration)
}

type api struct {
	Options
	router *mux.Router
}

// Handler serves the API's ten routes. A router in front of it must leave paths as they
// are: http.ServeMux redirects those that contain an ID such as "..".
func Handler(o Options) http.Handler {
	a := &api{Options: o, router: mux.NewRouter().UseEncodedPath().SkipClean(true)}
	for _, r := range a.routes() {
		a.router.Handle(r.path, a.admitted(r.path, r.serve)).Methods(r.methods...)
	}
	a.router.NotFoundHandler = a.admitted("unknown", notFound)
	a.router.MethodNotAllowedHandler = a.admitted("unknown", a.methodNotAllowed)
	return a
}

const (
	instance = "/v2/service_instances/{instance_id}"
	binding  = instance + "/service_bindings/{binding_id}"
)

// route is the methods of a path's pattern, with their handler.
type route struct {
	methods []string
	path    string
	serve   handler
}

func (a *api) routes() []route {
	return []route{
		{[]string{http.MethodGet, http.MethodHead}, "/v2/catalog", a.fetchCatalog},
		{[]string{http.MethodPut}, instance, a.verb(a.provision)},
		{[]string{http.MethodGet}, instance, a.verb(a.fetchInstance)},
		{[]string{http.MethodPatch}, instance, a.verb(a.update)},
		{[]string{http.MethodDelete}, instance, a.verb(a.deprovision)},
		{[]string{http.MethodGet}, instance + "/last_operation", a.verb(a.poll)},
		{[]string{http.MethodPut}, binding, a.verb(a.bind)},
		{[]string{http.MethodGet}, binding, a.verb(a.fetchBinding)},
		{[]string{http.MethodDelete}, binding, a.verb(a.unbind)},
		{[]string{http.MethodGet}, binding + "/last_operation", a.verb(a.poll)},
	}
}

// Expected calls forEach with the routes, methods and status codes that Options.Observe
// usually gets, so that their counters can begin at 0.
func Expected(forEach func(route, method string, code int)) {
	codes := map[int]bool{
		http.StatusOK: true, http.StatusCreated: true, http.StatusAccepted: true,
		http.StatusUnauthorized: true, http.StatusPreconditionFailed: true, http.StatusRequestEntityTooLarge: true, http.StatusTooManyRequests: true,
	}
	for _, row := range statuses {
		codes[row.status] = true
	}
	for _, r := range (&api{}).routes() {
		for _, method := range r.methods {
			for code := range codes {
				forEach(r.path, method, code)
			}
		}
	}
}

// ServeHTTP answers one request, whatever happens, and logs it in one line.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	defer a.finish(x, r)
	r = cleaned(r)
	// The router's own ServeHTTP would copy the request twice, to attach what the
	// exchange has.
	var match mux.RouteMatch
	a.router.Match(r, &match) // with handlers for 404 and 405 something always matches
	x.vars = match.Vars
	match.Handler.ServeHTTP(x, r)
}

// fetchCatalog answers GET /v2/catalog (OSB, "Catalog Management"), and 304 without a body
// to a platform that has it (RFC 9110, section 13.1).
func (a *api) fetchCatalog(x *exchange, r *http.Request) error {
	x.Header().Set("Content-Type", "application/json")
	x.Header().Set("ETag", a.Catalog.ETag())
	// A part of the catalog is of no use, and 412 says something else to platforms.
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-Unmodified-Since"} {
		r.Header.Del(name)
	}
	http.ServeContent(x, r, "", a.Catalog.LastModified(), bytes.NewReader(a.Catalog.JSON()))
	return nil
}

func notFound(*exchange, *http.Request) error {
	return refuse(http.StatusNotFound, "no such path: the Open Service Broker API begins at /v2/catalog and /v2/service_instances/ID")
}

func (a *api) methodNotAllowed(x *exchange, r *http.Request) error {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE"} {
		other := *r
		other.Method = method
		var match mux.RouteMatch
		if a.router.Match(&other, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	allow := strings.Join(allowed, ", ")
	x.Header().Set("Allow", allow)
	return refuse(http.StatusMethodNotAllowed, "this path has the methods "+allow+" only")
}

// cleaned returns the request with the path's superfluous slashes removed, such as
// those of a platform whose broker URL ends with one. A redirect would not do: clients that
// follow it drop the body or the credentials. The path stays percent-encoded, so that an ID
// may contain slashes.
func cleaned(r *http.Request) *http.Request {
	sent := r.URL.EscapedPath()
	path := cleanPath(sent)
	if path == sent {
		return r
	}
	out, location := *r, *r.URL
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return r // net/http parsed the same text before
	}
	location.Path, location.RawPath = decoded, path
	out.URL = &location
	return &out
}

// cleanPath removes empty segments, except those of IDs: a request with an empty ID must not
// become a request for the next segment.
func cleanPath(path string) string {
	if !strings.Contains(path, "//") && !strings.HasSuffix(path, "/") {
		return path
	}
	var segments []string
	for segment := range strings.SplitSeq(path, "/") {
		if n := len(segments); segment == "" && (n == 0 || !collection(segments[n-1])) {
			continue
		}
		segments = append(segments, segment)
	}
	return "/" + strings.Join(segments, "/")
}

// collection says whether an ID follows the segment.
func collection(segment string) bool {
	return segment == "service_instances" || segment == "service_bindings"
}
