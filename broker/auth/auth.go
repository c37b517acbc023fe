// Package auth authenticates requests: it finds the client that sends one, a platform
// or an operator.
package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Options configure an Authenticator; Logger is required.
type Options struct {
	Clients []catalog.Client
	// TrustedProxies are those whose X-Forwarded-For counts as a request's source.
	TrustedProxies []netip.Prefix
	Logger         *slog.Logger
	// Refused is called for every refusal, with one of Reasons.
	Refused func(reason string)
}

// Authenticator knows a set of clients. It is safe for concurrent use.
type Authenticator struct {
	options    Options
	limits     *limits
	issuers    *issuers
	awayLog    rate.Sometimes
	principals atomic.Pointer[principals]
}

// principals are the clients with the contents of their files.
type principals struct {
	passwords    []passwordPrincipal
	tokens       []tokenPrincipal
	certificates []certificatePrincipal
	schemes      []string // WWW-Authenticate
	accepted     []string // what clients can authenticate with, for errors
}

// New makes an Authenticator. It reads the clients' files and makes no outside call.
func New(o Options) (*Authenticator, error) {
	if o.Refused == nil {
		o.Refused = func(string) {}
	}
	a := &Authenticator{options: o, limits: newLimits(), issuers: newIssuers(), awayLog: rate.Sometimes{Interval: retryIssuer}}
	return a, a.Replace(o.Clients)
}

// Replace exchanges the clients. If their files cannot be read it changes nothing.
func (a *Authenticator) Replace(clients []catalog.Client) error {
	p := &principals{}
	var faults []error
	for _, c := range clients {
		if err := p.add(c); err != nil {
			faults = append(faults, fmt.Errorf("client %s: %w", c.Name, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	if len(p.passwords) > 0 {
		p.schemes = append(p.schemes, `Basic realm="service broker", charset="UTF-8"`)
		p.accepted = append(p.accepted, "a user and password as HTTP basic authentication")
	}
	if len(p.tokens) > 0 {
		p.schemes = append(p.schemes, `Bearer realm="service broker"`)
		p.accepted = append(p.accepted, "a bearer token")
	}
	if len(p.certificates) > 0 {
		p.accepted = append(p.accepted, "a client certificate")
	}
	a.principals.Store(p)
	return nil
}

func (p *principals) add(c catalog.Client) error {
	passwords, err := passwordsOf(c)
	if err != nil {
		return err
	}
	if len(passwords) > 0 {
		p.passwords = append(p.passwords, newPasswordPrincipal(c, passwords))
	}
	if c.Tokens != nil {
		p.tokens = append(p.tokens, tokenPrincipal{c.Name, *c.Tokens})
	}
	if c.Certificates != nil {
		authorities, err := cafile.ReadFile("ca_file", c.Certificates.CAFile)
		if err != nil {
			return err
		}
		p.certificates = append(p.certificates, certificatePrincipal{c.Name, *c.Certificates, cafile.Pool(authorities)})
	}
	return nil
}

// passwordsOf returns the passwords of the catalog and of the files that it names.
func passwordsOf(c catalog.Client) ([]services.Secret, error) {
	passwords := append([]services.Secret{}, c.Passwords...)
	for _, file := range c.PasswordFiles {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("password_files: %w", err)
		}
		password := strings.TrimRight(string(text), "\r\n")
		if err := catalog.CheckPassword(password); err != nil {
			return nil, fmt.Errorf("password_files: %s: the password %w", file, err)
		}
		passwords = append(passwords, services.NewSecret(password))
	}
	return passwords, nil
}

// UsesCertificates says whether the server has to ask clients for certificates.
func (a *Authenticator) UsesCertificates() bool { return len(a.principals.Load().certificates) > 0 }

// Refusal is the error for an unauthenticated request. Its text does not tell the client
// what was wrong with its credentials.
type Refusal struct {
	// Status is 401, 429 or 503.
	Status int
	// Challenges are the values of WWW-Authenticate, for 401.
	Challenges []string
	// RetryAfter is the value of Retry-After, for 429 and 503.
	RetryAfter time.Duration
	text       string
}

func (r *Refusal) Error() string { return r.text }

// The reasons of refusals, in the log and in metrics.
const (
	noCredentials = "no_credentials"
	badPassword   = "password"
	badToken      = "token"
	badCert       = "certificate"
	issuerAway    = "issuer"
	tooMany       = "too_many"
)

// Reasons are all values with which Options.Refused is called.
func Reasons() []string {
	return []string{noCredentials, badPassword, badToken, badCert, issuerAway, tooMany}
}

// failure is why credentials were refused; err is for the log.
type failure struct {
	reason string
	err    error
}

// Authenticate returns the name of the client that sends the request. An error is a
// *Refusal.
func (a *Authenticator) Authenticate(r *http.Request) (client string, err error) {
	p := a.principals.Load()
	source := a.source(r)
	name, failed := a.identify(p, source, r)
	if failed == nil {
		return name, nil
	}
	a.options.Refused(failed.reason)
	switch failed.reason {
	case noCredentials:
		return "", p.challenge("the request has no credentials")
	case issuerAway:
		a.awayLog.Do(func() { // anyone can send such tokens
			a.options.Logger.ErrorContext(r.Context(), "token issuer does not answer", "source", source.String(), "error", failed.err.Error())
		})
		return "", &Refusal{Status: http.StatusServiceUnavailable, RetryAfter: retryIssuer, text: "the token's issuer did not return its keys; repeat the request later"}
	case tooMany:
		return "", &Refusal{Status: http.StatusTooManyRequests, RetryAfter: refill, text: "this address sent too many requests with wrong credentials; repeat the request later"}
	}
	if a.limits.fail(source) {
		a.options.Logger.WarnContext(r.Context(), "authentication refused", "source", source.String(), "reason", failed.reason, "error", failed.err.Error())
	}
	return "", p.challenge("the credentials are unknown")
}

func (p *principals) challenge(text string) *Refusal {
	if len(p.accepted) == 0 {
		text += "; no clients are configured"
	} else {
		text += "; send " + strings.Join(p.accepted, ", or ")
	}
	return &Refusal{Status: http.StatusUnauthorized, Challenges: p.schemes, text: text}
}

// identify uses the Authorization header or, without one, the client's certificate.
func (a *Authenticator) identify(p *principals, source netip.Addr, r *http.Request) (string, *failure) {
	sent := r.Header.Values("Authorization")
	if len(sent) > 1 {
		return "", &failure{badPassword, errors.New("several Authorization headers")}
	}
	if len(sent) == 0 {
		return p.byCertificate(r)
	}
	scheme, value, _ := strings.Cut(sent[0], " ")
	switch strings.ToLower(scheme) {
	case "basic":
		return a.byPassword(p, source, r)
	case "bearer":
		return a.byToken(r.Context(), p, strings.TrimSpace(value))
	}
	return "", &failure{badPassword, errors.New("neither Basic nor Bearer")}
}

// byPassword refuses a source that guesses even if it guesses right, unless the same
// credentials were right before: other clients behind its address keep working.
func (a *Authenticator) byPassword(p *principals, source netip.Addr, r *http.Request) (string, *failure) {
	credentials := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	name, ok := p.byPassword(r)
	if a.limits.exhausted(source) && !(ok && a.limits.proven(credentials)) {
		return "", &failure{reason: tooMany}
	}
	if !ok {
		return "", &failure{badPassword, errors.New("no such user and password")}
	}
	a.limits.prove(credentials)
	return name, nil
}
