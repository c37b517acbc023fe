// Package osb is the wire: the Open Service Broker API 2.17 over HTTP. It
// decodes and checks the shape of requests, calls the broker, and turns results
// and errors into answers; it holds no rule of the lifecycle.
package osb

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/catalog"
)

// Options is what a Handler is made of; all but Observe is needed.
type Options struct {
	Broker  *broker.Broker
	Catalog *catalog.Catalog
	// Authenticator knows the platforms.
	Authenticator *auth.Authenticator
	Logger        *slog.Logger
	// RequireVersion refuses requests without X-Broker-API-Version with 412.
	// A version that is sent and not supported is refused in any case.
	RequireVersion bool
	// Observe is told of every answer. The route is the path's pattern, or
	// "unknown"; the method is one of HTTP's, or "other": both are of few
	// values whatever clients send.
	Observe func(route, method string, code int, took time.Duration)
}

type api struct {
	Options
	document document
	router   *mux.Router
}

// Handler serves the API's ten routes. Give it to the server directly or behind
// a router that leaves paths as they are: http.ServeMux redirects those that
// hold an ID such as "..".
func Handler(o Options) http.Handler {
	a := &api{
		Options:  o,
		document: newDocument(o.Catalog),
		router:   mux.NewRouter().UseEncodedPath().SkipClean(true),
	}
	a.routes()
	return a
}

const (
	instance = "/v2/service_instances/{instance_id}"
	binding  = instance + "/service_bindings/{binding_id}"
)

// route is one of the API: its methods, its path's pattern, what serves it.
type route struct {
	methods []string
	path    string
	serve   handler
}

func (a *api) table() []route {
	return []route{
		{[]string{http.MethodGet, http.MethodHead}, "/v2/catalog", a.fetchCatalog},
		{[]string{http.MethodPut}, instance, a.verb(a.provision)},
		{[]string{http.MethodGet}, instance, a.verb(a.fetchInstance)},
		{[]string{http.MethodPatch}, instance, a.verb(a.update)},
		{[]string{http.MethodDelete}, instance, a.verb(a.deprovision)},
		{[]string{http.MethodGet}, instance + "/last_operation", a.verb(a.pollInstance)},
		{[]string{http.MethodPut}, binding, a.verb(a.bind)},
		{[]string{http.MethodGet}, binding, a.verb(a.fetchBinding)},
		{[]string{http.MethodDelete}, binding, a.verb(a.unbind)},
		{[]string{http.MethodGet}, binding + "/last_operation", a.verb(a.pollBinding)},
	}
}

func (a *api) routes() {
	for _, r := range a.table() {
		a.router.Handle(r.path, a.admitted(r.path, r.serve)).Methods(r.methods...)
	}
	a.router.NotFoundHandler = a.admitted("unknown", notFound)
	a.router.MethodNotAllowedHandler = a.admitted("unknown", a.methodNotAllowed)
}

// Expected calls each with every route, method and status code that
// Options.Observe will usually be told of, so that counters of them can begin at 0.
func Expected(each func(route, method string, code int)) {
	codes := map[int]bool{
		http.StatusOK: true, http.StatusCreated: true, http.StatusAccepted: true,
		http.StatusUnauthorized: true, http.StatusPreconditionFailed: true, http.StatusRequestEntityTooLarge: true, http.StatusTooManyRequests: true,
	}
	for _, row := range statuses {
		codes[row.status] = true
	}
	for _, r := range (&api{}).table() {
		for _, method := range r.methods {
			for code := range codes {
				each(r.path, method, code)
			}
		}
	}
}

// ServeHTTP answers one request, whatever happens, and logs it in one line.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	defer a.finish(x, r)
	r = cleaned(r)
	// The router's own ServeHTTP would copy the request twice to hand on what
	// the exchange holds.
	var match mux.RouteMatch
	a.router.Match(r, &match) // with handlers for 404 and 405 something always matches
	x.vars = match.Vars
	match.Handler.ServeHTTP(x, r)
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
	return refuse(http.StatusMethodNotAllowed, "this path knows the methods "+allow+" only")
}
