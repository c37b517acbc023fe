package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// identity is a certificate with its key.
type identity struct {
	leaf      *x509.Certificate
	private   *ecdsa.PrivateKey
	cert, key []byte // in PEM
}

// issue makes an identity that the authority signs; a nil one makes an authority.
func issue(t *testing.T, name string, authority *identity) *identity {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &identity{private: private, leaf: &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: authority == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}}
	if authority == nil {
		authority = i
	}
	der, err := x509.CreateCertificate(rand.Reader, i.leaf, authority.leaf, private.Public(), authority.private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	i.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	i.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return i
}

// mutual are the files of a server that accepts client certificates of its authority.
type mutual struct {
	authority     *identity
	cert, key, ca string
}

func newMutual(t *testing.T) mutual {
	t.Helper()
	dir := t.TempDir()
	m := mutual{issue(t, "authority", nil), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.pem")}
	server := issue(t, "first", m.authority)
	write(t, m.cert, server.cert)
	write(t, m.key, server.key)
	write(t, m.ca, m.authority.cert)
	return m
}

func (m mutual) environment() map[string]string {
	return map[string]string{"FUNCTIONS_ADMIN_TLS_CERT": m.cert, "FUNCTIONS_ADMIN_TLS_KEY": m.key, "FUNCTIONS_ADMIN_CLIENT_CA": m.ca}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// get gets a page of the server, as a client with a certificate or none, and tells
// whose certificate the server has.
func (m mutual) get(t *testing.T, url string, client *identity) (status int, body, server string, err error) {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	config.RootCAs.AppendCertsFromPEM(m.authority.cert)
	if client != nil {
		pair, err := tls.X509KeyPair(client.cert, client.key)
		if err != nil {
			t.Fatal(err)
		}
		// Not Certificates, of which one is sent only if it is of the server's authorities.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), response.TLS.PeerCertificates[0].Subject.CommonName, err
}

// The administration API accepts client certificates of its authority, without a token.
func TestClientCertificates(t *testing.T) {
	m := newMutual(t)
	_, environment, stop := serving(t, m.environment())
	defer stop()
	url := "https://" + environment["FUNCTIONS_ADMIN_LISTEN"]
	stranger := issue(t, "broker", issue(t, "authority", nil))
	for name, test := range map[string]struct {
		client *identity
		path   string
		status int
	}{
		"of the authority":         {issue(t, "broker", m.authority), "/admin/v1/ready", http.StatusOK},
		"none":                     {nil, "/admin/v1/ready", http.StatusUnauthorized},
		"none, for what is public": {nil, "/readyz", http.StatusOK},
		"of another authority":     {stranger, "/admin/v1/ready", 0},
	} {
		status, body, _, err := m.get(t, url+test.path, test.client)
		if status != test.status || (err != nil) != (test.status == 0) {
			t.Errorf("a certificate %s: %d, want %d: %s %v", name, status, test.status, body, err)
		}
	}
}

// Files that are replaced are served without a restart; while they are incomplete, the
// current certificate stays.
func TestReplacedCertificate(t *testing.T) {
	m := newMutual(t)
	_, environment, stop := serving(t, m.environment())
	defer stop()
	url := "https://" + environment["FUNCTIONS_ADMIN_LISTEN"] + "/metrics"
	expect := func(want string, within time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
			_, metrics, server, err := m.get(t, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			line := `chandler_functions_certificate_not_after_seconds{subject="CN=` + want + `",use="administration"}`
			if server == want && strings.Contains(metrics, line) && strings.Count(metrics, "\nchandler_functions_certificate_not_after_seconds{") == 1 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is served, want %s; metrics: %s", server, want, metrics)
			}
		}
	}
	expect("first", time.Second)
	second := issue(t, "second", m.authority)
	write(t, m.cert, second.cert) // without its key
	time.Sleep(2 * reloadEvery)
	expect("first", time.Second)
	write(t, m.key, second.key)
	expect("second", time.Minute)
	if err := os.Remove(m.key); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * reloadEvery)
	expect("second", time.Second)
}
