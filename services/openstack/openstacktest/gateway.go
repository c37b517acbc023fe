// Package openstacktest helps to test the backends on OpenStack.
package openstacktest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// Gateway starts a reverse proxy until the end of t and returns its address, host:port. It puts
// several services behind one address, so that a proxy in front of it cuts all of them. services
// are addresses, host:port, by the first segment of the paths that go there, such as "v3".
func Gateway(t testing.TB, services map[string]string) string {
	t.Helper()
	idle := &http.Transport{} // without the environment's proxies
	proxy := &httputil.ReverseProxy{Transport: idle, Rewrite: func(r *httputil.ProxyRequest) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/"), "/")
		r.SetURL(&url.URL{Scheme: "http", Host: services[first]}) // an unknown one is a bad gateway
	}}
	server := httptest.NewServer(proxy)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		idle.CloseIdleConnections()
	})
	return server.Listener.Addr().String()
}
