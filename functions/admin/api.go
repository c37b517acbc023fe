// Package admin is the administration API of the function runtime: it creates, changes
// and deletes namespaces, and the keys with which applications call the OpenWhisk API.
// openapi.yaml describes it. PUT and DELETE are idempotent. Once a change is answered it
// holds at all runtimes of the database: they read namespaces and keys at every request.
package admin

import (
	"context"
	_ "embed"
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// Prefix is the path of all routes.
const Prefix = "/admin/v1/"

//go:embed openapi.yaml
var document []byte

// Options is what the API needs; all fields are required.
type Options struct {
	Store         *state.Store
	Authenticator *Authenticator
	Logger        *slog.Logger
	Contents      Contents
}

type api struct{ Options }

// answer is a status and a value that becomes JSON; nil: no body.
type answer struct {
	status int
	body   any
}

type route struct {
	method, path string
	serve        func(a *api, r *http.Request) (answer, error)
	streams      bool // a body of any size
}

func routes() []route {
	return []route{
		{"GET", "ready", (*api).ready, false},
		{"GET", "namespaces", (*api).listNamespaces, false},
		{"GET", "namespaces/{namespace}", (*api).getNamespace, false},
		{"PUT", "namespaces/{namespace}", (*api).putNamespace, false},
		{"DELETE", "namespaces/{namespace}", (*api).deleteNamespace, false},
		{"GET", "namespaces/{namespace}/contents", (*api).exportContents, false},
		{"POST", "namespaces/{namespace}/contents", (*api).importContents, true},
		{"GET", "keys", (*api).listKeys, false},
		{"GET", "namespaces/{namespace}/keys/{key}", (*api).getKey, false},
		{"PUT", "namespaces/{namespace}/keys/{key}", (*api).putKey, false},
		{"DELETE", "namespaces/{namespace}/keys/{key}", (*api).deleteKey, false},
	}
}

// New serves the API below Prefix to those whom the Authenticator knows.
func New(o Options) http.Handler {
	a := &api{o}
	mux := http.NewServeMux()
	for _, route := range routes() {
		mux.HandleFunc(route.method+" "+Prefix+route.path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, route) })
	}
	mux.HandleFunc("GET "+Prefix+"openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(document)
	})
	mux.HandleFunc(Prefix, func(w http.ResponseWriter, r *http.Request) {
		write(w, problemf(http.StatusNotFound, "not_found", "%s %s: no such endpoint; see %sopenapi.yaml", r.Method, r.URL.Path, Prefix).answer())
	})
	return a.authenticated(mux)
}

// authenticated passes authenticated requests to next; an unauthenticated caller
// learns nothing more.
func (a *api) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Authenticator.allows(r) {
			next.ServeHTTP(w, r)
			return
		}
		a.Logger.WarnContext(r.Context(), "administration refused", "remote", r.RemoteAddr, "method", r.Method, "path", r.URL.Path)
		w.Header().Set("WWW-Authenticate", "Bearer")
		write(w, problemf(http.StatusUnauthorized, "unauthenticated",
			"the administration API needs one of its tokens as 'Authorization: Bearer TOKEN', or a client certificate of its authority").answer())
	})
}

// maxBody is far more than any body needs.
const maxBody = 64 << 10

func (a *api) serve(w http.ResponseWriter, r *http.Request, route route) {
	began := time.Now()
	if route.streams {
		r.Body = livelyBody{r.Body, http.NewResponseController(w)}
	} else {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	var got answer
	err := checkNames(r)
	if err == nil {
		got, err = route.serve(a, r)
	}
	if err != nil {
		p := problemOf(err)
		if p.status >= http.StatusInternalServerError {
			a.Logger.ErrorContext(r.Context(), "administration failed", "method", r.Method, "path", r.URL.Path, "error", err.Error())
		}
		got = p.answer()
	}
	s, copies := got.body.(stream)
	if copies {
		got = a.sendStream(w, r, s, got.status)
	}
	if copies || route.method != http.MethodGet {
		a.Logger.InfoContext(r.Context(), "administration", "method", r.Method, "path", r.URL.Path, "status", got.status, "duration", time.Since(began))
	}
	if got.body != nil || !copies {
		write(w, got)
	}
}

// sendStream returns the answer that remains to be written, if its body is not nil.
func (a *api) sendStream(w http.ResponseWriter, r *http.Request, s stream, status int) answer {
	begun, err := s.send(w, status)
	if err == nil {
		return answer{status: status}
	}
	a.Logger.ErrorContext(r.Context(), "administration failed", "method", r.Method, "path", r.URL.Path, "error", err.Error())
	if begun {
		panic(http.ErrAbortHandler)
	}
	return problemOf(err).answer()
}

func write(w http.ResponseWriter, a answer) {
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

// change makes a change of what name names, and answers it. f runs alone among all
// changes of that name, and reads the request's body: a client that sends "Expect:
// 100-continue" sends it only then. A change whose client has disconnected or given up
// cannot take effect after the next one: either its body never arrives, or the next one
// waits until its transaction has ended.
func (a *api) change(r *http.Request, name string, f func(ctx context.Context, tx pgx.Tx) error) (answer, error) {
	err := a.Store.Alone(r.Context(), name, func(tx pgx.Tx) error { return f(r.Context(), tx) })
	return answer{status: http.StatusNoContent}, err
}

func (a *api) ready(r *http.Request) (answer, error) {
	if err := a.Store.Ready(r.Context()); err != nil {
		return answer{}, problemf(http.StatusServiceUnavailable, "unavailable", "%v", err)
	}
	return answer{http.StatusOK, map[string]bool{"ready": true}}, nil
}

// nameRule keeps names apart from OpenWhisk's own (whisk.system, _), and from
// characters that need quoting anywhere.
var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// checkNames checks the names in the path.
func checkNames(r *http.Request) error {
	for _, part := range []string{"namespace", "key"} {
		if name := r.PathValue(part); name != "" && !nameRule.MatchString(name) {
			return invalid(part + ": must be 1 to 63 of a-z, 0-9 and -, and neither begin nor end with -")
		}
	}
	return nil
}
