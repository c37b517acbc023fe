// Package credhubfake is a CredHub for tests, with its UAA: CredHub itself runs on Java and
// a UAA, and is not available here. It follows CredHub's public API documentation. Where
// that is vague it is stricter than CredHub: it refuses whatever is not documented.
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
	t                *testing.T
	certificate, key []byte // the broker's, in PEM

	mu          sync.Mutex
	credentials map[string]json.RawMessage // by the name in lower case
	permissions []permission               // the broker's two identities first
	tokens      map[string]string          // to the actor
	down        int                        // the status of all answers; 0: normal service
	logins      int
}

type permission struct {
	UUID       string   `json:"uuid"`
	Path       string   `json:"path"`
	Actor      string   `json:"actor"`
	Operations []string `json:"operations"`
}

var allOperations = []string{"read", "write", "delete", "read_acl", "write_acl"}

// Start starts a server for a test. Both identities of the broker have every permission
// below Prefix.
func Start(t *testing.T) *Server {
	t.Helper()
	s := &Server{t: t, credentials: map[string]json.RawMessage{}, tokens: map[string]string{}}
	for _, actor := range []string{"uaa-client:" + ClientID, "mtls-app:chandler-broker"} {
		s.permissions = append(s.permissions, permission{rand.Text(), Prefix + "/*", actor, allOperations})
	}
	s.identify()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.certificate)
	s.Server = httptest.NewUnstartedServer(s.handler())
	s.Server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// identify makes the broker's certificate, an instance identity such as Cloud Foundry gives
// to applications, except that it is self-signed.
func (s *Server) identify() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		Subject:     pkix.Name{CommonName: "instance", OrganizationalUnit: []string{"app:chandler-broker"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	s.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// CAFile is the CA of the server's certificate.
func (s *Server) CAFile() string {
	return s.file(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// BrokerCertificate makes the files of the broker's certificate.
func (s *Server) BrokerCertificate() (certificate, key string) {
	return s.file(s.certificate), s.file(s.key)
}

func (s *Server) file(content []byte) string {
	path := filepath.Join(s.t.TempDir(), "file.pem")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Read reads a credential like Cloud Foundry for an application, or, if appID is empty,
// for a client of the UAA.
func (s *Server) Read(name, appID, clientID string) (value json.RawMessage, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	actor := "mtls-app:" + appID
	if appID == "" {
		actor = "uaa-client:" + clientID
	}
	value, ok = s.credentials[strings.ToLower(name)]
	return value, ok && s.may(actor, name, "read")
}

// Held returns the numbers of credentials and of readers' permissions.
func (s *Server) Held() (credentials, permissions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.credentials), len(s.permissions) - 2
}

// Fail makes the server answer everything with that status; 0 ends this.
func (s *Server) Fail(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = status
}

// Revoke revokes every token.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Logins returns how many tokens the UAA has issued.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// Restrict leaves the broker only these permissions.
func (s *Server) Restrict(operations ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permissions[0].Operations, s.permissions[1].Operations = operations, operations
}

func (s *Server) may(actor, name, operation string) bool {
	return slices.ContainsFunc(s.permissions, func(p permission) bool {
		folder, below := strings.CutSuffix(strings.ToLower(p.Path), "*")
		return p.Actor == actor && slices.Contains(p.Operations, operation) &&
			(strings.EqualFold(p.Path, name) || below && strings.HasPrefix(strings.ToLower(name), folder))
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"error": message})
}

const (
	absent           = "The request could not be completed because the credential does not exist or you do not have sufficient authorization."
	absentPermission = "The request includes a permission that does not exist."
)

// handler routes requests, one at a time.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "UP"})
	})
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"auth-server": map[string]string{"url": s.URL}, "app": map[string]string{"name": "CredHub"}})
	})
	mux.HandleFunc("POST /oauth/token", s.token)
	for pattern, handle := range map[string]func(w http.ResponseWriter, r *http.Request, actor string){
		"PUT /api/v1/data": s.put, "GET /api/v1/data": s.get, "DELETE /api/v1/data": s.delete,
		"POST /api/v2/permissions": s.permit, "GET /api/v2/permissions": s.findPermission, "DELETE /api/v2/permissions/{uuid}": s.forbid,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if actor := s.actor(r); actor != "" {
				handle(w, r, actor)
				return
			}
			answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token", "error_description": "Full authentication is required to access this resource"})
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down != 0 {
			refuse(w, s.down, "it is away")
			return
		}
		mux.ServeHTTP(w, r)
	})
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

// decode reads a body that has these fields and no others.
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
		refuse(w, http.StatusBadRequest, "The value is not of the type json, or too large.")
	case !s.may(actor, body.Name, "write"):
		refuse(w, http.StatusForbidden, absent)
	default:
		s.credentials[strings.ToLower(body.Name)] = value
		answer(w, http.StatusOK, map[string]any{"id": rand.Text(), "name": body.Name, "type": "json", "value": body.Value})
	}
}

// find returns a credential that the actor may use, or refuses the request.
func (s *Server) find(w http.ResponseWriter, r *http.Request, actor, operation string) (name string, value json.RawMessage, ok bool) {
	name = r.URL.Query().Get("name")
	value, ok = s.credentials[strings.ToLower(name)]
	if name == "" {
		refuse(w, http.StatusBadRequest, "The query parameter name is required.")
	} else if ok = ok && s.may(actor, name, operation); !ok {
		refuse(w, http.StatusNotFound, absent)
	}
	return name, value, ok
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, actor string) {
	if name, value, ok := s.find(w, r, actor, "read"); ok {
		answer(w, http.StatusOK, map[string]any{"data": []any{map[string]any{"id": rand.Text(), "name": name, "type": "json", "value": value}}})
	}
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request, actor string) {
	if name, _, ok := s.find(w, r, actor, "delete"); ok {
		delete(s.credentials, strings.ToLower(name))
		answer(w, http.StatusNoContent, nil)
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
	kind, id, _ := strings.Cut(body.Actor, ":")
	unknown := func(operation string) bool { return !slices.Contains(allOperations, operation) }
	switch {
	case !names.MatchString(body.Path) || (kind != "mtls-app" && kind != "uaa-client") || id == "" || len(body.Operations) == 0 ||
		slices.ContainsFunc(body.Operations, unknown):
		refuse(w, http.StatusBadRequest, "The path, the actor or an operation is invalid.")
	case !s.may(actor, body.Path, "write_acl"):
		refuse(w, http.StatusNotFound, absent)
	case s.permission(body.Path, body.Actor) >= 0:
		refuse(w, http.StatusConflict, "A permission entry for this actor and path already exists.")
	default:
		p := permission{rand.Text(), body.Path, body.Actor, body.Operations}
		s.permissions = append(s.permissions, p)
		answer(w, http.StatusCreated, p)
	}
}

func (s *Server) permission(path, actor string) int {
	return slices.IndexFunc(s.permissions, func(p permission) bool { return strings.EqualFold(p.Path, path) && p.Actor == actor })
}

func (s *Server) findPermission(w http.ResponseWriter, r *http.Request, actor string) {
	path := r.URL.Query().Get("path")
	i := s.permission(path, r.URL.Query().Get("actor"))
	if i < 0 || !s.may(actor, path, "read_acl") {
		refuse(w, http.StatusNotFound, absentPermission)
		return
	}
	answer(w, http.StatusOK, s.permissions[i])
}

func (s *Server) forbid(w http.ResponseWriter, r *http.Request, actor string) {
	i := slices.IndexFunc(s.permissions, func(p permission) bool { return p.UUID == r.PathValue("uuid") })
	if i < 0 || !s.may(actor, s.permissions[i].Path, "write_acl") {
		refuse(w, http.StatusNotFound, absentPermission)
		return
	}
	answer(w, http.StatusOK, s.permissions[i])
	s.permissions = slices.Delete(s.permissions, i, i+1)
}
