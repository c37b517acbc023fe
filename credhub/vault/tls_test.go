package vault_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// identity makes a CA and a certificate by it for 127.0.0.1.
func identity(t *testing.T) *embedded.TLS {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of a test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "vault"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(t, err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	check(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return &embedded.TLS{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		CA:          pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
	}
}

func TestTLS(t *testing.T) {
	s := administer(t, embeddedtest.Vault(t, identity(t)))
	config := s.withToken(t)
	if !strings.HasPrefix(config.Address, "https://") {
		t.Fatalf("the server is at %s", config.Address)
	}
	credtest.Run(t, func(t *testing.T) credhub.Store { return open(t, config) })

	t.Run("CA of the environment", func(t *testing.T) {
		t.Setenv("VAULT_CACERT", s.CAFile())
		t.Setenv("VAULT_ADDR", s.Addr())
		t.Setenv("VAULT_TOKEN", config.Token.Reveal())
		config := config
		config.CACert, config.Address = "", ""
		store := open(t, config)
		mustPut(t, store)
		mustServe(t, store)
	})
	t.Run("another CA", func(t *testing.T) {
		config := config
		config.CACert = filepath.Join(t.TempDir(), "ca.pem")
		check(t, os.WriteFile(config.CACert, identity(t).CA, 0o600))
		mustFail(t, open(t, config), "certificate")
	})
	t.Run("no CA", func(t *testing.T) {
		config := config
		config.CACert = ""
		mustFail(t, open(t, config), "certificate signed by unknown authority")
	})
	t.Run("plain HTTP", func(t *testing.T) {
		config := config
		config.Address = strings.Replace(config.Address, "https", "http", 1)
		mustFail(t, open(t, config), "vault: ") // some calls are told so, others cut off
	})
}
