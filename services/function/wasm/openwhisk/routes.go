package openwhisk

import (
	"net/http"

	"github.com/gorilla/mux"
)

// routes are matched on the path as it was sent, percent-encoded: names may have
// spaces, and a web action is given the rest of the path untouched.
func (a *API) routes() http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.NotFoundHandler = a.open(func(*call) error { return errNotFound })
	r.MethodNotAllowedHandler = a.open(func(*call) error { return errMethod })

	r.HandleFunc("/", a.open(a.describe)).Methods("GET")
	v1 := r.PathPrefix("/api/v1").Subrouter()
	v1.PathPrefix("/web/{namespace}/{package}/{name}").HandlerFunc(a.web)
	v1.Methods("OPTIONS").HandlerFunc(a.open(func(*call) error { return nil }))
	v1.HandleFunc("{end:/?}", a.open(a.describeVersion)).Methods("GET")
	v1.HandleFunc("/namespaces{end:/?}", a.authenticated(a.listNamespaces)).Methods("GET")

	ns := v1.PathPrefix("/namespaces/{namespace}").Subrouter()
	ns.HandleFunc("/limits{end:/?}", a.entity(readOwn, a.getLimits)).Methods("GET")
	a.actionRoutes(ns)
	a.otherRoutes(ns)
	ns.HandleFunc("/activations{end:/?}", a.entity(readOwn, a.listActivations)).Methods("GET")
	ns.HandleFunc("/activations/{id}{end:/?}", a.entity(readOwn, a.getActivation)).Methods("GET")
	ns.HandleFunc("/activations/{id}/result", a.entity(readOwn, a.getResult)).Methods("GET")
	ns.HandleFunc("/activations/{id}/logs", a.entity(readOwn, a.getLogs)).Methods("GET")
	return r
}

func (a *API) actionRoutes(ns *mux.Router) {
	ns.HandleFunc("/actions{end:/?}", a.entity(readOwn, a.listActions)).Methods("GET")
	ns.HandleFunc("/actions/{package}/", a.entity(readShared, a.listPackageActions)).Methods("GET")
	for _, path := range []string{"/actions/{name}", "/actions/{package}/{name}"} {
		ns.HandleFunc(path, a.entity(readShared, a.getAction)).Methods("GET")
		ns.HandleFunc(path, a.entity(change, a.putAction)).Methods("PUT")
		ns.HandleFunc(path, a.entity(change, a.deleteAction)).Methods("DELETE")
		ns.HandleFunc(path, a.open(a.postAction)).Methods("POST")
	}
}

func (a *API) otherRoutes(ns *mux.Router) {
	ns.HandleFunc("/packages{end:/?}", a.entity(readShared, a.listPackages)).Methods("GET")
	ns.HandleFunc("/packages/{name}", a.entity(readShared, a.getPackage)).Methods("GET")
	ns.HandleFunc("/packages/{name}", a.entity(change, a.putPackage)).Methods("PUT")
	ns.HandleFunc("/packages/{name}", a.entity(change, a.deletePackage)).Methods("DELETE")

	ns.HandleFunc("/triggers{end:/?}", a.entity(readOwn, a.listTriggers)).Methods("GET")
	ns.HandleFunc("/triggers/{name}", a.entity(readOwn, a.getTrigger)).Methods("GET")
	ns.HandleFunc("/triggers/{name}", a.entity(change, a.putTrigger)).Methods("PUT")
	ns.HandleFunc("/triggers/{name}", a.entity(change, a.deleteTrigger)).Methods("DELETE")
	ns.HandleFunc("/triggers/{name}", a.entity(readOwn, a.postTrigger)).Methods("POST")

	ns.HandleFunc("/rules{end:/?}", a.entity(readOwn, a.listRules)).Methods("GET")
	ns.HandleFunc("/rules/{name}", a.entity(readOwn, a.getRule)).Methods("GET")
	ns.HandleFunc("/rules/{name}", a.entity(change, a.putRule)).Methods("PUT")
	ns.HandleFunc("/rules/{name}", a.entity(change, a.deleteRule)).Methods("DELETE")
	ns.HandleFunc("/rules/{name}", a.entity(change, a.postRule)).Methods("POST")
}
