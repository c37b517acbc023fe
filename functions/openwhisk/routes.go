package openwhisk

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// methods serve one path.
type methods map[string]http.HandlerFunc

// routes are matched on the path as it was sent, percent-encoded: names may have
// spaces, and a web action is given the rest of the path untouched.
func (a *API) routes() http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.NotFoundHandler = a.open(func(*call) error { return errNotFound })
	// Clients put the API's host and the path together, and the host may end in a slash.
	r.PathPrefix("//").HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		short := req.Clone(req.Context())
		short.URL.Path, short.URL.RawPath = oneSlash(req.URL.Path), oneSlash(req.URL.RawPath)
		r.ServeHTTP(w, short)
	})
	r.PathPrefix("/api/v1/web/{namespace}/{package}/{name}").HandlerFunc(named(a.web))
	const ns = "/api/v1/namespaces/{namespace}"
	for path, serve := range map[string]methods{
		"/":                          {"GET": a.open(a.describe)},
		"/api/v1{end:/?}":            {"GET": a.open(a.describeVersion)},
		"/api/v1/namespaces{end:/?}": {"GET": a.authenticated(a.listNamespaces)},
		ns + "/limits{end:/?}":       {"GET": a.entity(readOwn, a.getLimits)},

		ns + "/actions{end:/?}":          {"GET": a.entity(readOwn, a.listActions)},
		ns + "/actions/{package}/":       {"GET": a.entity(readShared, a.listPackageActions)},
		ns + "/actions/{name}":           a.actionMethods(),
		ns + "/actions/{package}/{name}": a.actionMethods(),

		ns + "/packages{end:/?}": {"GET": a.entity(readShared, a.listPackages)},
		ns + "/packages/{name}": {
			"GET": a.entity(readShared, a.getPackage), "PUT": a.entity(change, a.putPackage), "DELETE": a.entity(change, a.deletePackage),
		},
		ns + "/triggers{end:/?}": {"GET": a.entity(readOwn, a.listTriggers)},
		ns + "/triggers/{name}": {
			"GET": a.entity(readOwn, a.getTrigger), "PUT": a.entity(change, a.putTrigger),
			"DELETE": a.entity(change, a.deleteTrigger), "POST": a.entity(readOwn, a.postTrigger),
		},
		ns + "/rules{end:/?}": {"GET": a.entity(readOwn, a.listRules)},
		ns + "/rules/{name}": {
			"GET": a.entity(readOwn, a.getRule), "PUT": a.entity(change, a.putRule),
			"DELETE": a.entity(change, a.deleteRule), "POST": a.entity(change, a.postRule),
		},
		ns + "/activations{end:/?}":      {"GET": a.entity(readOwn, a.listActivations)},
		ns + "/activations/{id}{end:/?}": {"GET": a.entity(readOwn, a.getActivation)},
		ns + "/activations/{id}/result":  {"GET": a.entity(readOwn, a.getResult)},
		ns + "/activations/{id}/logs":    {"GET": a.entity(readOwn, a.getLogs)},
	} {
		r.HandleFunc(path, named(a.serve(serve)))
	}
	return r
}

// oneSlash is a path that begins with one slash in place of several.
func oneSlash(path string) string {
	if path == "" {
		return ""
	}
	return "/" + strings.TrimLeft(path, "/")
}

func (a *API) actionMethods() methods {
	return methods{
		"GET": a.entity(readShared, a.getAction), "PUT": a.entity(change, a.putAction),
		"DELETE": a.entity(change, a.deleteAction), "POST": a.open(a.postAction),
	}
}

// serve answers OPTIONS to whoever asks, and 405 to what the path does not have.
func (a *API) serve(m methods) http.HandlerFunc {
	allowed := strings.Join(slices.Sorted(maps.Keys(m)), ", ") + ", OPTIONS"
	m["OPTIONS"] = a.open(func(*call) error { return nil })
	refused := a.open(func(c *call) error {
		c.w.Header().Set("Allow", allowed)
		return errMethod
	})
	return func(w http.ResponseWriter, r *http.Request) {
		if serve, there := m[r.Method]; there {
			serve(w, r)
			return
		}
		refused(w, r)
	}
}
