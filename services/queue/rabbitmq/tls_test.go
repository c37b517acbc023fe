package rabbitmq

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// newAuthority makes a certificate for loopback that is its own authority.
func newAuthority(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(text)
}

// encrypted stands before the port of applications and takes TLS off.
func encrypted(t *testing.T, certificate tls.Certificate, target string) int {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); wait.Wait() })
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { splice(conn, target) })
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

func splice(conn net.Conn, target string) {
	defer conn.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() { _, _ = io.Copy(conn, server); _ = conn.Close() })
	_, _ = io.Copy(server, conn)
	_ = server.Close()
	back.Wait()
}

// With an authority of the operator's own, the management API is checked against
// it, and applications are given it and use it.
func TestTLS(t *testing.T) {
	server := newServer(t)
	certificate, authority := newAuthority(t)
	plain := *server.admin
	plain.User = nil
	management := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(&plain))
	management.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	management.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of the client that refuses it
	management.StartTLS()
	t.Cleanup(management.Close)
	u, err := url.Parse(management.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = server.admin.User
	config := map[string]any{"url": u.String(), "port": encrypted(t, certificate, server.address()), "prefix": "tls", "ca": authority}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	b := openBackend(t, raw)
	inst := provisioned(t, b, "tls", nil)
	credentials := bound(t, b, inst, "b", `{}`)
	if credentials["tls"] != true || credentials["ca"] != authority {
		t.Errorf("applications are told: tls %v, ca %v", credentials["tls"], credentials["ca"])
	}
	if err := dialled(t, credentials).Write(testContext(t), "k", "v"); err != nil {
		t.Error(err)
	}

	delete(config, "ca")
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	expect(t, openBackend(t, raw).Ready(testContext(t)), "certificate signed by unknown authority")
	delete(credentials, "ca")
	if _, err := dial(testContext(t), credentials); err == nil {
		t.Error("an application took a certificate that nobody vouches for")
	}
}
