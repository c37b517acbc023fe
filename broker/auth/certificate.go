package auth

import (
	"crypto/x509"
	"errors"
	"net/http"
	"slices"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// certificateGuest comes with a certificate of its CA (RFC 5280) that has one of
// its names.
type certificateGuest struct {
	name  string
	rules catalog.Certificates
	roots *x509.CertPool
}

// byCertificate verifies the certificate here and not in the handshake: there
// the files that were read at the start would decide, and one client's CA would
// speak for another's names.
func (g *guests) byCertificate(r *http.Request) (string, *failure) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || len(g.certificates) == 0 {
		return "", &failure{reason: noCredentials}
	}
	leaf := r.TLS.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	err := errors.New("no client has such a name")
	for _, guest := range g.certificates {
		if !guest.named(leaf) {
			continue
		}
		if _, err = leaf.Verify(x509.VerifyOptions{
			Roots: guest.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}); err == nil {
			return guest.name, nil
		}
	}
	return "", &failure{badCert, err}
}

func (g certificateGuest) named(c *x509.Certificate) bool {
	if slices.Contains(g.rules.Subjects, c.Subject.String()) {
		return true
	}
	for _, name := range c.DNSNames {
		if slices.Contains(g.rules.DNSNames, name) {
			return true
		}
	}
	for _, uri := range c.URIs {
		if slices.Contains(g.rules.URIs, uri.String()) {
			return true
		}
	}
	return false
}
