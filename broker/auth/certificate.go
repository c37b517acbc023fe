package auth

import (
	"crypto/x509"
	"errors"
	"net/http"
	"slices"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// certificatePrincipal sends a certificate (RFC 5280) of its CA with one of its names.
type certificatePrincipal struct {
	name  string
	rules catalog.Certificates
	roots *x509.CertPool
}

// byCertificate verifies the certificate here and not in the handshake, which would use
// the files as they were at the start, and would let one client's CA issue another's
// names.
func (p *principals) byCertificate(r *http.Request) (string, *failure) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || len(p.certificates) == 0 {
		return "", &failure{reason: noCredentials}
	}
	leaf := r.TLS.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	err := errors.New("no client has one of its names")
	for _, principal := range p.certificates {
		if !principal.named(leaf) {
			continue
		}
		if _, err = leaf.Verify(x509.VerifyOptions{
			Roots: principal.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}); err == nil {
			return principal.name, nil
		}
	}
	return "", &failure{badCert, err}
}

func (p certificatePrincipal) named(c *x509.Certificate) bool {
	if slices.Contains(p.rules.Subjects, c.Subject.String()) {
		return true
	}
	for _, name := range c.DNSNames {
		if slices.Contains(p.rules.DNSNames, name) {
			return true
		}
	}
	for _, uri := range c.URIs {
		if slices.Contains(p.rules.URIs, uri.String()) {
			return true
		}
	}
	return false
}
