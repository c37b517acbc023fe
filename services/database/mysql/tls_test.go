package mysql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// With TLS in the configuration, no client can connect without it, and a certificate of another
// authority is refused.
func TestTLS(t *testing.T) {
	identity := newIdentity(t)
	options := map[string]any{"tls": mysqldb.Verify, "ca": string(identity.Certificate)}
	server := newServerWith(t, identity, options)
	b, ctx := server.backend(t), testContext(t)
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	_, credentials := bound(t, b, inst, "1", access.ReadWrite)
	if credentials.Values["tls"] != true || credentials.Values["ca"] != string(identity.Certificate) {
		t.Errorf("credentials: %v, %v", credentials.Values["tls"], credentials.Values["ca"])
	}
	if cipher := dialled(t, credentials).ask(t, "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'"); cipher == "" {
		t.Error("the session is not encrypted")
	}
	if s, err := mysqldb.Dial(ctx, map[string]any{"uri": credentials.Values["uri"]}); err == nil {
		_ = s.Close()
		t.Error("let in without TLS")
	}
	server.tls = map[string]any{"tls": mysqldb.Verify, "ca": string(newIdentity(t).Certificate)}
	expect(t, server.backend(t).Ready(ctx), "certificate")
	server.tls = map[string]any{"tls": mysqldb.Require}
	if err := server.backend(t).Ready(ctx); err != nil {
		t.Error(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	server.nothingLeft(t)
}

// newIdentity is a certificate of its own authority for 127.0.0.1.
func newIdentity(t *testing.T) *embedded.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &embedded.TLS{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

func TestTLSByDefault(t *testing.T) {
	for host, want := range map[string]string{"localhost": mysqldb.Disable, "127.0.0.1": mysqldb.Disable, "::1": mysqldb.Disable, "10.0.0.1": mysqldb.Require, "db.example": mysqldb.Require} {
		if got := mysqldb.DefaultTLS(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	verified := mysqldb.Server{Server: endpoint.Server{Host: "h", Port: 1}, TLS: mysqldb.Verify}
	if c := verified.TLSConfig("h"); c.InsecureSkipVerify || c.ServerName != "h" {
		t.Error("the certificate is not checked")
	}
	if c := verified.Credentials("d", "u", services.NewSecret("p")); c.Values["jdbc_url"] != "jdbc:mysql://h:1/d?password=p&permitMysqlScheme=true&sslMode=VERIFY_IDENTITY&user=u" {
		t.Errorf("jdbc_url: %s", c.Values["jdbc_url"])
	}
}
