package acceptance_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// fault breaks a broker in one way: it answers a request itself, or passes it on.
type fault struct {
	name     string
	answers  func(*http.Request) (status int, body string, broken bool)
	complain string
}

func isUnbind(r *http.Request) bool {
	return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/service_bindings/")
}

// faults break the first use of a broker; the cleanup succeeds.
func faults() []fault {
	return []fault{
		{"an unbind that does nothing", func(r *http.Request) (int, string, bool) {
			return http.StatusOK, `{}`, isUnbind(r)
		}, "FAIL its live session is cut"},
		{"a bind that fails", func(r *http.Request) (int, string, bool) {
			return http.StatusInternalServerError, `{"description": "broken"}`, r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/service_bindings/")
		}, "FAIL bind"},
		{"an answer that is no JSON", func(r *http.Request) (int, string, bool) {
			return http.StatusCreated, `<html>`, r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/service_bindings/")
		}, "FAIL bind"},
		{"a deprovision that fails", func(r *http.Request) (int, string, bool) {
			return http.StatusInternalServerError, `{}`, r.Method == http.MethodDelete && !isUnbind(r)
		}, "FAIL deprovision"},
	}
}

func (w *watched) smoke(ctx SpecContext) {
	before := verb(ctx, w.d, 0, "instances", "list", "--output", "json")
	target, err := url.Parse(w.broker.URL())
	Expect(err).NotTo(HaveOccurred())
	for _, f := range faults() {
		By(f.name)
		var happened atomic.Bool
		proxy := httputil.NewSingleHostReverseProxy(target)
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if status, body, broken := f.answers(r); broken && happened.CompareAndSwap(false, true) {
				rw.WriteHeader(status)
				_, _ = rw.Write([]byte(body))
				return
			}
			proxy.ServeHTTP(rw, r)
		}))
		result, err := rig.Run(ctx, rig.Command{
			Name: "smoke", Path: w.d.Binary, Args: []string{"smoke", "--url", server.URL, "--plan", "postgres-small"}, Env: w.d.Env(nil), Dir: w.d.Dir,
		})
		server.Close()
		Expect(err).NotTo(HaveOccurred())
		Expect(result.Code).To(Equal(1), result.Stdout)
		Expect(result.Stdout).To(And(ContainSubstring(f.complain), ContainSubstring("ok   clean up")))
		Expect(verb(ctx, w.d, 0, "instances", "list", "--output", "json")).To(Equal(before))
	}
	Expect(verb(ctx, w.d, 0, "smoke", "--url", w.broker.URL())).To(ContainSubstring("ok: 2 plan(s) proved"))
	Expect(verb(ctx, w.d, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	Expect(verb(ctx, w.d, 1, "smoke", "--url", "http://127.0.0.1:1")).To(ContainSubstring("fetch the catalog"))
	Expect(verb(ctx, w.d, 2, "smoke", "--url", w.broker.URL(), "--plan", "no-such-plan")).To(ContainSubstring("no plan of the catalog matches"))
}
