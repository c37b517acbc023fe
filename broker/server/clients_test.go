package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/services/all"
)

// clientFiles is a catalog with the files that its clients name.
type clientFiles struct {
	t        *testing.T
	folder   string
	settings Settings
	clients  *clients
	metrics  *metrics
}

func newClientFiles(t *testing.T, clients string) *clientFiles {
	t.Helper()
	f := &clientFiles{t: t, folder: t.TempDir(), metrics: newMetrics()}
	f.settings = Settings{
		CatalogPath: filepath.Join(f.folder, "catalog.yml"), TLSCert: "set", TLSKey: "set", Lookup: os.LookupEnv,
		Implementations: Implementations{Backends: all.Definitions()},
	}
	f.write("catalog.yml", clients+"services: []\n")
	return f
}

func (f *clientFiles) path(name string) string { return filepath.Join(f.folder, name) }

func (f *clientFiles) write(name, content string) {
	f.t.Helper()
	// In one step, as secrets are replaced: nobody reads half a file.
	if err := os.WriteFile(f.path("new"), []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.path("new"), f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *clientFiles) open() {
	f.t.Helper()
	c, err := LoadCatalog(f.settings)
	if err != nil {
		f.t.Fatal(err)
	}
	if f.clients, err = newClients(c, f.settings, slog.New(slog.DiscardHandler), f.metrics); err != nil {
		f.t.Fatal(err)
	}
	go f.clients.watch(f.t.Context())
}

// comes says whom an authenticator knows by a password. Each comes from an address
// of its own: guesses are counted by address.
func comes(a *auth.Authenticator, username, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", mathrand.IntN(256), mathrand.IntN(256), mathrand.IntN(256))
	r.SetBasicAuth(username, password)
	name, _ := a.Authenticate(r)
	return name
}

// soon waits for what a changed file brings about.
func (f *clientFiles) soon(what string, is func() bool) {
	f.t.Helper()
	for end := time.Now().Add(10 * reloadEvery); !is(); time.Sleep(reloadEvery / 20) {
		if time.Now().After(end) {
			f.t.Fatal(what)
		}
	}
}

// Passwords, platforms and CAs change while the broker runs, and what cannot be
// used changes nothing.
func TestClientsAreReloaded(t *testing.T) {
	f := newClientFiles(t, "")
	clients := "platforms:\n- {name: cf, username: cf, password_files: [" + f.path("password") + "]}\n" +
		"- {name: mesh, certificates: {ca_file: " + f.path("ca.pem") + ", subjects: [CN=mesh]}}\n" +
		"operators:\n- {name: prometheus, username: prometheus, passwords: [the metrics']}\n"
	f.write("catalog.yml", clients+"services: []\n")
	f.write("password", "first password\n")
	firstCA, firstCert := newCA(t)
	f.write("ca.pem", firstCA)
	f.open()
	with := func(certificate *x509.Certificate) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
		name, _ := f.clients.platforms.Authenticate(r)
		return name
	}
	cf := func(password string) bool { return comes(f.clients.platforms, "cf", password) == "cf" }
	if !cf("first password") || cf("second password") || with(firstCert) != "mesh" {
		t.Fatal("at the start")
	}
	if comes(f.clients.operators, "prometheus", "the metrics'") != "prometheus" || comes(f.clients.operators, "cf", "first password") != "" ||
		comes(f.clients.platforms, "prometheus", "the metrics'") != "" {
		t.Error("an authenticator accepts the other's clients")
	}

	f.write("password", "second password")
	f.soon("the new password is not accepted", func() bool { return cf("second password") })
	if cf("first password") {
		t.Error("the old password is accepted")
	}
	secondCA, secondCert := newCA(t)
	f.write("ca.pem", secondCA)
	f.soon("the new CA is not accepted", func() bool { return with(secondCert) == "mesh" })
	if with(firstCert) != "" {
		t.Error("the old CA is accepted")
	}

	f.write("password", "short")
	stale := func() bool { return strings.Contains(scrape(t, f.metrics), "\nchandler_clients_reloaded 0\n") }
	f.soon("the metric does not show an invalid file", stale)
	if !cf("second password") {
		t.Error("an invalid file revoked the password")
	}
	f.write("catalog.yml", "platforms: three\n")
	f.write("password", "third password")
	time.Sleep(reloadEvery)
	if !cf("second password") || !stale() {
		t.Error("an invalid catalog revoked the password")
	}
	f.write("catalog.yml", clients+"- {name: new, username: new, passwords: [an operator's]}\nservices: []\n")
	f.soon("a new client is not accepted", func() bool { return comes(f.clients.operators, "new", "an operator's") == "new" })
	f.soon("the corrected files are not used", func() bool { return cf("third password") && !stale() })

	f.write("password", "fourth password")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.soon("SIGHUP did not reload", func() bool { return cf("fourth password") })
}

func newCA(t *testing.T) (text string, client *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(template, parent *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mesh"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca)
	if client, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: make(ca, ca)})), client
}

func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// Load balancers and Cloud Foundry ask for the health without credentials.
func TestHealth(t *testing.T) {
	w := httptest.NewRecorder()
	s := &Server{metrics: newMetrics()}
	s.routes(http.NotFoundHandler(), nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if w.Code != http.StatusOK {
		t.Errorf("/healthz answers %d", w.Code)
	}
}

// What operators read is not for platforms.
func TestOperatorsPages(t *testing.T) {
	f := newClientFiles(t, "platforms:\n- {name: cf, username: cf, passwords: [the platform's]}\n")
	f.settings.OperatorUsername, f.settings.OperatorPassword = "operator", "the operator's"
	f.open()
	a := &Server{metrics: f.metrics, catalog: f.clients.catalog, settings: f.settings}
	routes := a.routes(http.NotFoundHandler(), f.clients.operators)
	get := func(username, password string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest("GET", "/metrics", nil), httptest.NewRecorder()
		if username != "" {
			r.SetBasicAuth(username, password)
		}
		routes.ServeHTTP(w, r)
		return w
	}
	if w := get("operator", "the operator's"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "go_goroutines") {
		t.Error(w.Code, w.Body.String())
	}
	for _, user := range [][2]string{{"", ""}, {"cf", "the platform's"}, {"operator", "the platform's"}} {
		if w := get(user[0], user[1]); w.Code != http.StatusUnauthorized || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%v: %d %v", user, w.Code, w.Header())
		}
	}
	a.settings.OperatorUsername = ""
	none, err := newClients(a.catalog, a.settings, slog.New(slog.DiscardHandler), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	routes = a.routes(http.NotFoundHandler(), none.operators)
	if w := get("operator", "the operator's"); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "CHANDLER_OPERATOR_USERNAME") {
		t.Error(w.Code, w.Body.String())
	}
}

// Certificates need TLS, and files are read before the port opens.
func TestClientsThatCannotBeUsed(t *testing.T) {
	f := newClientFiles(t, "")
	ca, _ := newCA(t)
	f.write("ca.pem", ca)
	for clients, want := range map[string]string{
		"platforms:\n- {name: m, certificates: {ca_file: " + f.path("ca.pem") + ", subjects: [CN=m]}}\n":                                             "CHANDLER_TLS_CERT",
		"platforms:\n- {name: cf, username: cf, password_files: [/none]}\n":                                                                          "/none",
		"platforms:\n- {name: cf, username: cf, passwords: [password]}\noperators:\n- {name: o, certificates: {ca_file: /none, subjects: [CN=o]}}\n": "/none",
	} {
		f.write("catalog.yml", clients+"services: []\n")
		f.settings.TLSCert = ""
		c, err := LoadCatalog(f.settings)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newClients(c, f.settings, slog.New(slog.DiscardHandler), newMetrics()); !isConfig(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
}
