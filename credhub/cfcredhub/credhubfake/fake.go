// Package credhubfake is a CredHub for tests, and the UAA beside it: CredHub itself
// runs on Java and a UAA, and cannot be had here. It is written from CredHub's
// public API documentation and is stricter than CredHub where that is vague: it
// refuses whatever the documentation does not promise.
package credhubfake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The broker's identity at the UAA.
const (
	ClientID     = "chandler"
	ClientSecret = "the client's secret"
	// Prefix is where the broker has every permission.
	Prefix = "/c/chandler"
)

// Server is CredHub with its UAA.
type Server struct {
	*httptest.Server
	t   *testing.T
	dir string
	key *ecdsa.PrivateKey
	ca  *x509.Certificate

	mu          sync.Mutex
	credentials map[string]json.RawMessage // by the name, folded
	permissions []permission
	tokens      map[string]string // to the actor
	down        int               // a status to answer everything with; 0: none
	logins      int
}

type permission struct {
	UUID       string   `json:"uuid"`
	Path       string   `json:"path"`
	Actor      string   `json:"actor"`
	Operations []string `json:"operations"`
}

var allOperations = []string{"read", "write", "delete", "read_acl", "write_acl"}

// Start starts one for a test. Both of the broker's identities have every
// permission below Prefix.
func Start(t *testing.T) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), credentials: map[string]json.RawMessage{}, tokens: map[string]string{}}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.ca = s.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	for _, actor := range []string{"uaa-client:" + ClientID, "mtls-app:chandler-broker"} {
		s.permissions = append(s.permissions, permission{rand.Text(), Prefix + "/*", actor, allOperations})
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	pool := x509.NewCertPool()
	pool.AddCert(s.ca)
	s.Server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// CAFile is the CA of the server's certificate.
func (s *Server) CAFile() string {
	return s.file("server.pem", "CERTIFICATE", s.Certificate().Raw)
}

// BrokerCertificate makes the files of the broker's certificate.
func (s *Server) BrokerCertificate() (certificate, key string) {
	return s.certificate("chandler-broker")
}

// certificate makes an instance identity, as Cloud Foundry gives it to an
// application.
func (s *Server) certificate(appID string) (certificate, key string) {
	c := s.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "instance", OrganizationalUnit: []string{"app:" + appID}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, s.ca)
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.file(appID+".pem", "CERTIFICATE", c.Raw), s.file(appID+".key", "PRIVATE KEY", der)
}

func (s *Server) sign(c, parent *x509.Certificate) *x509.Certificate {
	c.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, s.key.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

func (s *Server) file(name, kind string, der []byte) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Read reads a credential as Cloud Foundry does for an application, or for a
// client of the UAA where appID is empty.
func (s *Server) Read(name, appID, clientID string) (value json.RawMessage, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	actor := "mtls-app:" + appID
	if appID == "" {
		actor = "uaa-client:" + clientID
	}
	value, ok = s.credentials[fold(name)]
	return value, ok && s.may(actor, name, "read")
}

// Held is how many credentials and how many permissions of readers there are.
func (s *Server) Held() (credentials, permissions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.credentials), len(s.permissions) - 2
}

// Fail answers everything with that status from now on; 0 ends it.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = status
}

// Revoke makes every token worthless.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = map[string]string{}
}

// Logins is how many tokens were given out.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// Restrict leaves the broker with these permissions only.
func (s *Server) Restrict(operations ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 2 {
		s.permissions[i].Operations = operations
	}
}

// fold is how CredHub compares names: without regard to case.
func fold(name string) string { return strings.ToLower(name) }

func (s *Server) may(actor, name, operation string) bool {
	return slices.ContainsFunc(s.permissions, func(p permission) bool {
		folder, below := strings.CutSuffix(p.Path, "*")
		return p.Actor == actor && slices.Contains(p.Operations, operation) &&
			(fold(p.Path) == fold(name) || below && strings.HasPrefix(fold(name), fold(folder)))
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

func refuse(w http.ResponseWriter, status int, words string) {
	answer(w, status, map[string]string{"error": words})
}

const absent = "The request could not be completed because the credential does not exist or you do not have sufficient authorization."

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	route := r.Method + " " + r.URL.Path
	switch {
	case s.down != 0:
		refuse(w, s.down, "it is away")
		return
	case route == "GET /health":
		answer(w, http.StatusOK, map[string]string{"status": "UP"})
		return
	case route == "GET /info":
		answer(w, http.StatusOK, map[string]any{"auth-server": map[string]string{"url": s.URL}, "app": map[string]string{"name": "CredHub"}})
		return
	case route == "POST /oauth/token":
		s.token(w, r)
		return
	}
	actor := s.actor(r)
	if actor == "" {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token", "error_description": "Full authentication is required to access this resource"})
		return
	}
	switch {
	case route == "PUT /api/v1/data":
		s.put(w, r, actor)
	case route == "GET /api/v1/data", route == "DELETE /api/v1/data":
		s.data(w, r, actor)
	case route == "POST /api/v2/permissions":
		s.permit(w, r, actor)
	case route == "GET /api/v2/permissions":
		s.findPermission(w, r, actor)
	case r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, "/api/v2/permissions/"):
		s.forbid(w, strings.TrimPrefix(r.URL.Path, "/api/v2/permissions/"), actor)
	default:
		refuse(w, http.StatusNotFound, "no such path")
	}
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	secret, err := url.QueryUnescape(secret) // RFC 6749, section 2.3.1
	if err != nil || id != ClientID || secret != ClientSecret || r.FormValue("grant_type") != "client_credentials" {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized", "error_description": "Bad credentials"})
		return
	}
	s.logins++
	token := rand.Text()
	s.tokens[token] = "uaa-client:" + id
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "bearer", "expires_in": 3600})
}

func (s *Server) actor(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return s.tokens[token]
	}
	if len(r.TLS.PeerCertificates) > 0 {
		for _, unit := range r.TLS.PeerCertificates[0].Subject.OrganizationalUnit {
			if app, ok := strings.CutPrefix(unit, "app:"); ok {
				return "mtls-app:" + app
			}
		}
	}
	return ""
}

var names = regexp.MustCompile("^(/[A-Za-z0-9_.:()\\[\\]`-]+)+$")

// decode takes a body that has these fields and no others.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if r.Header.Get("Content-Type") != "application/json" || decoder.Decode(into) != nil {
		refuse(w, http.StatusBadRequest, "The request could not be fulfilled because the request path or body did not meet expectation.")
		return false
	}
	return true
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, actor string) {
	var body struct {
		Name  string                     `json:"name"`
		Type  string                     `json:"type"`
		Value map[string]json.RawMessage `json:"value"`
	}
	if !decode(w, r, &body) {
		return
	}
	value, _ := json.Marshal(body.Value)
	switch {
	case !names.MatchString(body.Name) || len(body.Name) > 255:
		refuse(w, http.StatusBadRequest, "A credential name has letters, digits and some signs, and 255 characters at most.")
	case body.Type != "json" || body.Value == nil || len(value) > 64<<10:
		refuse(w, http.StatusBadRequest, "The value is none of the type json, or too large.")
	case !s.may(actor, body.Name, "write"):
		refuse(w, http.StatusForbidden, absent)
	default:
		s.credentials[fold(body.Name)] = value
		answer(w, http.StatusOK, map[string]any{"id": rand.Text(), "name": body.Name, "type": "json", "value": body.Value})
	}
}

func (s *Server) data(w http.ResponseWriter, r *http.Request, actor string) {
	name := r.URL.Query().Get("name")
	value, ok := s.credentials[fold(name)]
	operation := "read"
	if r.Method == http.MethodDelete {
		operation = "delete"
	}
	switch {
	case name == "":
		refuse(w, http.StatusBadRequest, "The query parameter name is required.")
	case !ok || !s.may(actor, name, operation):
		refuse(w, http.StatusNotFound, absent)
	case operation == "delete":
		delete(s.credentials, fold(name))
		answer(w, http.StatusNoContent, nil)
	default:
		answer(w, http.StatusOK, map[string]any{"data": []any{map[string]any{"id": rand.Text(), "name": name, "type": "json", "value": value}}})
	}
}

func (s *Server) permit(w http.ResponseWriter, r *http.Request, actor string) {
	var body struct {
		Path       string   `json:"path"`
		Actor      string   `json:"actor"`
		Operations []string `json:"operations"`
	}
	if !decode(w, r, &body) {
		return
	}
	same := func(p permission) bool { return fold(p.Path) == fold(body.Path) && p.Actor == body.Actor }
	kind, id, _ := strings.Cut(body.Actor, ":")
	switch {
	case !names.MatchString(body.Path) || (kind != "mtls-app" && kind != "uaa-client") || id == "" || len(body.Operations) == 0 ||
		slices.ContainsFunc(body.Operations, func(o string) bool { return !slices.Contains(allOperations, o) }):
		refuse(w, http.StatusBadRequest, "The path, the actor or an operation is none.")
	case !s.may(actor, body.Path, "write_acl"):
		refuse(w, http.StatusNotFound, absent)
	case slices.ContainsFunc(s.permissions, same):
		refuse(w, http.StatusConflict, "A permission entry for this actor and path already exists.")
	default:
		p := permission{rand.Text(), body.Path, body.Actor, body.Operations}
		s.permissions = append(s.permissions, p)
		answer(w, http.StatusCreated, p)
	}
}

func (s *Server) findPermission(w http.ResponseWriter, r *http.Request, actor string) {
	path, whose := r.URL.Query().Get("path"), r.URL.Query().Get("actor")
	i := slices.IndexFunc(s.permissions, func(p permission) bool { return fold(p.Path) == fold(path) && p.Actor == whose })
	if i < 0 || !s.may(actor, path, "read_acl") {
		refuse(w, http.StatusNotFound, "The request includes a permission that does not exist.")
		return
	}
	answer(w, http.StatusOK, s.permissions[i])
}

func (s *Server) forbid(w http.ResponseWriter, uuid, actor string) {
	i := slices.IndexFunc(s.permissions, func(p permission) bool { return p.UUID == uuid })
	if i < 0 || !s.may(actor, s.permissions[i].Path, "write_acl") {
		refuse(w, http.StatusNotFound, "The request includes a permission that does not exist.")
		return
	}
	removed := s.permissions[i]
	s.permissions = slices.Delete(s.permissions, i, i+1)
	answer(w, http.StatusOK, removed)
}
