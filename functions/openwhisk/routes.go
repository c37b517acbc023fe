package openwhisk

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

type methods map[string]http.HandlerFunc

// routes are matched on the percent-encoded path, whose rest a web action gets unchanged.
func (a *API) routes() http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.NotFoundHandler = a.open(func(*call) error { return errNotFound })
	// Clients concatenate the API's host, which may end in a slash, and the path.
	r.PathPrefix("//").HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		short := req.Clone(req.Context())
		short.URL.Path, short.URL.RawPath = oneSlash(req.URL.Path), oneSlash(req.URL.RawPath)
		r.ServeHTTP(w, short)
	})
	r.PathPrefix("/api/v1/web/{namespace}/{package}/{name}").HandlerFunc(withRouteName(a.web))
	const ns = "/api/v1/namespaces/{namespace}"
	for path, serve := range map[string]methods{
		"/":                          {"GET": a.open(a.describe)},
		"/api/v1{end:/?}":            {"GET": a.open(a.describeVersion)},
		"/api/v1/namespaces{end:/?}": {"GET": a.authenticated(a.listNamespaces)},
		ns + "/limits{end:/?}":       {"GET": a.entity(readOwn, a.getLimits)},

		ns + "/actions{end:/?}":          {"GET": a.entity(readOwn, a.listActions)},
		ns + "/actions/{package}/":       {"GET": a.entity(readShared, a.listActions)},
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
		ns + "/activations/{id}{end:/?}": {"GET": a.entity(readOwn, a.activation(func(r *record) any { return r.document() }))},
		ns + "/activations/{id}/result":  {"GET": a.entity(readOwn, a.activation(func(r *record) any { return r.response() }))},
		ns + "/activations/{id}/logs":    {"GET": a.entity(readOwn, a.activation(func(r *record) any { return map[string]any{"logs": r.document().Logs} }))},
	} {
		r.HandleFunc(path, withRouteName(a.serve(serve)))
	}
	return r
}

// oneSlash replaces several slashes at the start of a path by one.
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

// serve answers OPTIONS to anyone, and 405 to methods that the path does not have.
func (a *API) serve(m methods) http.HandlerFunc {
	allowed := strings.Join(slices.Sorted(maps.Keys(m)), ", ") + ", OPTIONS"
	m["OPTIONS"] = a.open(func(*call) error { return nil })
	refused := a.open(func(c *call) error {
		c.w.Header().Set("Allow", allowed)
		return errMethod
	})
	return func(w http.ResponseWriter, r *http.Request) {
		if serve, known := m[r.Method]; known {
			serve(w, r)
			return
		}
		refused(w, r)
	}
}

// describe serves GET /, which OpenWhisk's clients read.
func (a *API) describe(c *call) error {
	runtime := func(kind string, isDefault bool) map[string]any {
		return map[string]any{"kind": kind, "default": isDefault, "deprecated": false, "attached": false, "image": "", "requireMain": false}
	}
	return c.ok(map[string]any{
		"api_paths":   []string{"/api/v1"},
		"description": "OpenWhisk",
		"runtimes": map[string]any{
			"nodejs": []any{runtime("nodejs:default", true)},
			"wasm":   []any{runtime("wasm:default", true), runtime("wasm:wasi", false)},
		},
	})
}

func (a *API) describeVersion(c *call) error {
	return c.ok(map[string]any{
		"description":      "OpenWhisk API",
		"api_version":      "1.0.0",
		"api_version_path": "v1",
		"build":            "chandler",
		"buildno":          "1",
	})
}

// listNamespaces serves GET /namespaces: a key has one.
func (a *API) listNamespaces(c *call) error { return c.ok([]string{c.who.namespace}) }
