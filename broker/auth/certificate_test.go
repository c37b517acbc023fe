package auth

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// authority is a CA.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // PEM
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{key: ecKey(t), file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a client's certificate.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "cloud_controller", Organization: []string{"CF"}},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	key := ecKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// overTLS answers who a client with the certificate is, by a real handshake.
func overTLS(t *testing.T, d *Authenticator, certificate *tls.Certificate) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := d.Authenticate(r)
		if err != nil {
			name = err.Error()
		}
		_, _ = w.Write([]byte(name))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	transport := server.Client().Transport.(*http.Transport) //nolint:forcetypeassert // httptest's own
	if certificate != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*certificate}
	}
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCertificates(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "ca")
	uri := &url.URL{Scheme: "spiffe", Host: "cluster", Path: "/ns/osb"}
	d := newAuthenticator(t,
		catalog.Client{Name: "cf", Certificates: &catalog.Certificates{CAFile: ca.file, Subjects: []string{"CN=cloud_controller,O=CF"}}},
		catalog.Client{Name: "k8s", Certificates: &catalog.Certificates{CAFile: other.file, DNSNames: []string{"osb.cluster"}, URIs: []string{uri.String()}}})
	const unknown, nothing = "the credentials are unknown; send a client certificate", "the request has no credentials; send a client certificate"
	named := func(c *x509.Certificate) { c.Subject, c.DNSNames = pkix.Name{}, []string{"x", "osb.cluster"} }
	for _, test := range []struct {
		name        string
		certificate *tls.Certificate
		want        string
	}{
		{"subject", ca.issue(t, nil), "cf"},
		{"DNS name", other.issue(t, named), "k8s"},
		{"URI", other.issue(t, func(c *x509.Certificate) { c.URIs = []*url.URL{uri} }), "k8s"},
		{"none", nil, nothing},
		{"another CA's", other.issue(t, nil), unknown},
		{"one platform's CA, the other's name", ca.issue(t, named), unknown},
		{"another subject", ca.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "cloud_controller2" }), unknown},
		{"expired", ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), unknown},
		{"not yet good", ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), unknown},
		{"a server's", ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := overTLS(t, d, test.certificate); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestFilesMustBeGood(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "a good password\n")
	d := newAuthenticator(t, catalog.Client{Name: "cf", Username: "cf", PasswordFiles: []string{good}})
	for name, client := range map[string]catalog.Client{
		"no such file":     {Name: "cf", Username: "cf", PasswordFiles: []string{filepath.Join(folder, "none")}},
		"a short password": {Name: "cf", Username: "cf", PasswordFiles: []string{file("short", "short")}},
		"two lines":        {Name: "cf", Username: "cf", PasswordFiles: []string{file("two", "password\npassword\n")}},
		"no certificate":   {Name: "cf", Certificates: &catalog.Certificates{CAFile: good}},
		"no such CA":       {Name: "cf", Certificates: &catalog.Certificates{CAFile: filepath.Join(folder, "none")}},
	} {
		if err := d.Replace([]catalog.Client{client}); err == nil {
			t.Error(name, "is accepted")
		}
		if _, err := d.Authenticate(basic("10.0.0.1", "cf", "a good password")); err != nil {
			t.Error(name, err)
		}
	}
}
