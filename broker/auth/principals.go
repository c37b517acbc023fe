package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// passwordPrincipal sends Basic credentials (RFC 7617). Every request is compared with
// the digests of all passwords, so that the time of an answer reveals neither how much
// of a password was right nor which users exist.
type passwordPrincipal struct {
	name      string
	username  [sha256.Size]byte
	passwords [][sha256.Size]byte
}

func newPasswordPrincipal(c catalog.Client, passwords []services.Secret) passwordPrincipal {
	principal := passwordPrincipal{name: c.Name, username: sha256.Sum256([]byte(c.Username))}
	for _, password := range passwords {
		if !password.IsZero() { // an empty password matches no request
			principal.passwords = append(principal.passwords, sha256.Sum256([]byte(password.Reveal())))
		}
	}
	return principal
}

func (ps *principals) byPassword(r *http.Request) (name string, ok bool) {
	username, password, sent := r.BasicAuth()
	u, p := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	found := -1
	for i := range ps.passwords {
		match := 0
		for j := range ps.passwords[i].passwords {
			match |= subtle.ConstantTimeCompare(p[:], ps.passwords[i].passwords[j][:])
		}
		match &= subtle.ConstantTimeCompare(u[:], ps.passwords[i].username[:])
		found = subtle.ConstantTimeSelect(match, i, found)
	}
	if !sent || found < 0 {
		return "", false
	}
	return ps.passwords[found].name, true
}

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
