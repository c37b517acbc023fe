package openwhisk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

const testToken = "a-very-secret-token-of-tests"

// pretender is a backend whose runtime answers as handler does.
func pretender(t *testing.T, handler http.HandlerFunc) *backend {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	b, err := open(t.Context(), Config{AdminURL: server.URL, Token: services.NewSecret(testToken), APIHost: "http://127.0.0.1:9"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// Whatever a server answers, the backend returns a short error that does not blame the
// user.
func TestNonsense(t *testing.T) {
	inst, bd := testInstance(t, `{}`), testBinding(t, "b")
	for name, handler := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) },
		"another shape": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"namespaces": 5, "waiting": 5}`))
		},
		"a long page for an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(strings.Repeat("\x00no\n", 100000)))
		},
		"a wrong token": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:9/stolen", http.StatusTemporaryRedirect)
		},
		"an answer cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("["))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := pretender(t, handler)
			calls := map[string]func(context.Context) error{
				"deprovision": func(ctx context.Context) error { return servicetest.Once(b).Deprovision(ctx, inst) },
				"list":        func(ctx context.Context) error { _, err := b.List(ctx); return err },
			}
			if name != "no JSON" && name != "another shape" { // the others have no answer to read
				calls["ready"] = b.Ready
				calls["provision"] = func(ctx context.Context) error { return servicetest.Once(b).Provision(ctx, inst) }
				calls["bind"] = func(ctx context.Context) error { _, err := servicetest.Once(b).Bind(ctx, inst, bd); return err }
				calls["unbind"] = func(ctx context.Context) error { return servicetest.Once(b).Unbind(ctx, inst, bd) }
			}
			for verb, call := range calls {
				err := call(t.Context())
				if err == nil {
					t.Errorf("%s succeeded", verb)
					continue
				}
				if _, rejected := services.IsRejected(err); rejected || len(err.Error()) > 700 || strings.Contains(err.Error(), testToken) {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// A call of a server that hangs ends at the caller's deadline.
func TestHanging(t *testing.T) {
	b := pretender(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := servicetest.Once(b).Provision(ctx, testInstance(t, `{}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("provision: %v", err)
	}
}

// The backend shows the client certificate of its configuration, which may be replaced.
func TestClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || len(r.TLS.PeerCertificates) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	pair, dir := server.TLS.Certificates[0], t.TempDir() // it serves as the client's, too
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{AdminURL: server.URL, APIHost: "http://127.0.0.1:9", CertificateFile: filepath.Join(dir, "crt"), KeyFile: filepath.Join(dir, "key")}
	c.AdminCAFile = c.CertificateFile
	if err := os.WriteFile(c.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "certificate_file, key_file: ") {
		t.Errorf("a key that is missing: %v", err)
	}
	if err := os.WriteFile(c.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// Another runtime is asked where one cannot be reached.
func TestSeveralRuntimes(t *testing.T) {
	server := newServer(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	b, err := open(t.Context(), Config{
		AdminURL: "http://" + gone.Addr().String() + ", " + server.AdminURL(), Token: services.NewSecret(server.AdminToken()), APIHost: server.URL(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := errors.Join(b.Ready(t.Context()), servicetest.Once(b).Provision(t.Context(), testInstance(t, `{}`))); err != nil {
		t.Error(err)
	}
}
