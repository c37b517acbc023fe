package osb

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair makes a certificate for 127.0.0.1 under the name, and its key.
func pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	return pairUntil(t, name, time.Now().Add(time.Hour))
}

func pairUntil(t *testing.T, name string, end time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotAfter:     end,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shown returns the name in the certificate that the server at the address
// shows.
func shown(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what is shown is the point
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestCertificateIsReloaded(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	oneCert, oneKey := pair(t, "one")
	write(t, certFile, oneCert)
	write(t, keyFile, oneKey)
	var log bytes.Buffer
	certificate, err := NewCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, Server(http.NotFoundHandler(), certificate, slog.New(slog.DiscardHandler)), listener)
	address := listener.Addr().String()
	look := func(want string) {
		t.Helper()
		certificate.mu.Lock()
		certificate.checked = time.Time{} // a second has passed
		certificate.mu.Unlock()
		if got := shown(t, address); got != want {
			t.Fatalf("the server shows the certificate %q, want %q; log:\n%s", got, want, log.String())
		}
	}
	look("one")

	twoCert, twoKey := pair(t, "two")
	write(t, certFile, twoCert)
	look("one") // the key is not there yet
	look("one")
	if n := strings.Count(log.String(), "certificate not reloaded"); n != 1 {
		t.Errorf("the fault is logged %d times, want once:\n%s", n, log.String())
	}
	write(t, keyFile, twoKey)
	look("two")

	write(t, certFile, []byte("not a certificate"))
	look("two")
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	look("two")
	threeCert, threeKey := pair(t, "three")
	write(t, certFile, threeCert)
	write(t, keyFile, threeKey)
	look("three")
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the log holds a key")
	}
}

// An expired certificate does not replace a valid one. If there is no valid one, it
// is used and logged as an error.
func TestExpiredCertificate(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	place := func(name string, end time.Time) {
		cert, key := pairUntil(t, name, end)
		write(t, certFile, cert)
		write(t, keyFile, key)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	name := func(c *Certificate) string {
		t.Helper()
		c.checked = time.Time{} // a second has passed
		shown, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return shown.Leaf.Subject.CommonName
	}

	place("good", time.Now().Add(time.Hour))
	good, err := NewCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	place("expired", time.Now().Add(-time.Minute))
	if got := name(good); got != "good" || !strings.Contains(log.String(), "certificate not reloaded") {
		t.Errorf("%s is shown; log:\n%s", got, log.String())
	}

	log.Reset()
	expired, err := NewCertificate(certFile, keyFile, logger)
	if err != nil || !strings.Contains(log.String(), "level=ERROR msg=\"certificate has expired\"") {
		t.Errorf("%v; log:\n%s", err, log.String())
	}
	place("also expired", time.Now().Add(-time.Second))
	if got := name(expired); got != "also expired" {
		t.Errorf("%s is shown", got)
	}
}

func TestCertificateIsLookedAtSeldom(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	cert, key := pair(t, "one")
	write(t, certFile, cert)
	write(t, keyFile, key)
	certificate, err := NewCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := certificate.Get(nil)
	cert, key = pair(t, "two")
	write(t, certFile, cert)
	write(t, keyFile, key)
	if after, _ := certificate.Get(nil); after != before {
		t.Error("the files were read again within a second")
	}
}

func TestCertificateMustBeGoodAtStart(t *testing.T) {
	folder := t.TempDir()
	good, bad := filepath.Join(folder, "good"), filepath.Join(folder, "bad")
	cert, _ := pair(t, "one")
	write(t, good, cert)
	write(t, bad, []byte("x"))
	for _, c := range []struct{ name, certFile, keyFile string }{
		{"no certificate", filepath.Join(folder, "none"), bad},
		{"no key", good, filepath.Join(folder, "none")},
		{"not a key", good, bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewCertificate(c.certFile, c.keyFile, slog.New(slog.DiscardHandler)); err == nil {
				t.Error("no error")
			}
		})
	}
}
