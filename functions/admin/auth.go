package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// minToken is the shortest token that is accepted.
const minToken = 20

// Authenticator decides who may use the administration API. It is safe for concurrent
// use, and no print verb or log shows its tokens.
type Authenticator struct {
	tokens      [][sha256.Size]byte
	authorities *x509.CertPool
}

// Format implements fmt.Formatter.
func (a *Authenticator) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[authenticator]")) }

// LogValue implements slog.LogValuer.
func (a *Authenticator) LogValue() slog.Value { return slog.StringValue("[authenticator]") }

// NewAuthenticator accepts the tokens, one a line, and the client certificates of
// the authorities (PEM). Without both it is nil. Errors do not quote the tokens.
func NewAuthenticator(tokens, authorities []byte) (*Authenticator, error) {
	a := &Authenticator{}
	for number, line := range bytes.Split(tokens, []byte("\n")) {
		token := bytes.TrimSpace(line)
		if len(token) == 0 {
			continue
		}
		if len(token) < minToken || bytes.ContainsAny(token, " \t") {
			return nil, fmt.Errorf("token in line %d: must have %d characters at least, and no blanks; 'openssl rand -hex 32' makes one", number+1, minToken)
		}
		a.tokens = append(a.tokens, sha256.Sum256(token))
	}
	if len(authorities) > 0 {
		a.authorities = x509.NewCertPool()
		if !a.authorities.AppendCertsFromPEM(authorities) {
			return nil, errors.New("the file of authorities has no certificate in PEM")
		}
	}
	if len(a.tokens) == 0 && a.authorities == nil {
		return nil, nil
	}
	return a, nil
}

// RequestCertificates makes a server ask its clients for certificates, if some are
// accepted. Clients without one are served, too: they may have a token.
func (a *Authenticator) RequestCertificates(c *tls.Config) {
	if a != nil && a.authorities != nil {
		c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, a.authorities
	}
}

func (a *Authenticator) allows(r *http.Request) bool {
	if a.authorities != nil && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum, known := sha256.Sum256([]byte(token)), 0
	for _, t := range a.tokens {
		known |= subtle.ConstantTimeCompare(sum[:], t[:])
	}
	return known == 1
}
