// Package auth says who sends a request: a platform that may use the broker, or
// an operator who may read its metrics.
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

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Options is what a Door is made of; Logger is needed.
type Options struct {
	// Clients are who may come in.
	Clients []catalog.Client
	// TrustedProxies are those whose X-Forwarded-For is believed, for telling
	// one source from another.
	TrustedProxies []netip.Prefix
	Logger         *slog.Logger
	// Refused is told of every refusal: why, in one of a few words.
	Refused func(reason string)
}

// Door admits known clients. It is safe for concurrent use.
type Door struct {
	logger  *slog.Logger
	refused func(string)
	proxies []netip.Prefix
	limits  *limits
	issuers *issuers
	guests  atomic.Pointer[guests]
}

// guests is who may come in, with what their files held when they were read.
type guests struct {
	passwords    []passwordGuest
	tokens       []tokenGuest
	certificates []certificateGuest
	schemes      []string // WWW-Authenticate
}

// New makes a Door. It reads the clients' files and makes no outside call; an
// issuer of tokens that is away is asked again when a token comes.
func New(o Options) (*Door, error) {
	d := &Door{logger: o.Logger, refused: o.Refused, proxies: o.TrustedProxies, limits: newLimits(), issuers: newIssuers()}
	if d.refused == nil {
		d.refused = func(string) {}
	}
	return d, d.Replace(o.Clients)
}

// Replace lets other clients in from now on. Where their files cannot be read,
// nothing changes.
func (d *Door) Replace(clients []catalog.Client) error {
	g := &guests{}
	var faults []error
	for _, c := range clients {
		faults = append(faults, g.add(c))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if len(g.passwords) > 0 {
		g.schemes = append(g.schemes, `Basic realm="service broker", charset="UTF-8"`)
	}
	if len(g.tokens) > 0 {
		g.schemes = append(g.schemes, `Bearer realm="service broker"`)
	}
	d.guests.Store(g)
	return nil
}

func (g *guests) add(c catalog.Client) error {
	passwords, err := passwordsOf(c)
	if err != nil {
		return fmt.Errorf("client %s: %w", c.Name, err)
	}
	if len(passwords) > 0 {
		g.passwords = append(g.passwords, newPasswordGuest(c, passwords))
	}
	if c.Tokens != nil {
		g.tokens = append(g.tokens, tokenGuest{c.Name, *c.Tokens})
	}
	if c.Certificates != nil {
		authorities, err := cafile.ReadFile("ca_file", c.Certificates.CAFile)
		if err != nil {
			return fmt.Errorf("client %s: %w", c.Name, err)
		}
		g.certificates = append(g.certificates, certificateGuest{c.Name, *c.Certificates, cafile.Pool(authorities)})
	}
	return nil
}

// passwordsOf returns the passwords of the catalog and of the files that it
// names.
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

// UsesCertificates says whether some client comes with a certificate, so that
// the server has to ask for one.
func (d *Door) UsesCertificates() bool { return len(d.guests.Load().certificates) > 0 }

// Refusal is why a request is not let in. Its text is for the client and tells
// nothing of what was wrong with it.
type Refusal struct {
	// Status is 401, 429 or 503.
	Status int
	// Challenges are for WWW-Authenticate; of 401.
	Challenges []string
	// RetryAfter is for Retry-After; of 429 and 503.
	RetryAfter time.Duration
	text       string
}

func (r *Refusal) Error() string { return r.text }

// What is logged and counted of a refusal.
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

// failure is why credentials were not good, for the log.
type failure struct {
	reason string
	err    error
}

// Authenticate returns the name of the client that sends the request. An error
// is a *Refusal.
func (d *Door) Authenticate(r *http.Request) (client string, err error) {
	g := d.guests.Load()
	source := d.source(r)
	name, failed := d.identify(g, source, r)
	if failed == nil {
		return name, nil
	}
	d.refused(failed.reason)
	switch failed.reason {
	case noCredentials:
		return "", g.challenge("send credentials: " + g.wanted())
	case issuerAway:
		d.logger.ErrorContext(r.Context(), "issuer of tokens does not answer", "source", source.String(), "error", failed.err.Error())
		return "", &Refusal{Status: http.StatusServiceUnavailable, RetryAfter: retryIssuer, text: "the issuer of the token cannot be asked for its keys; repeat the request later"}
	case tooMany:
		return "", &Refusal{Status: http.StatusTooManyRequests, RetryAfter: refill, text: "too many requests with wrong credentials came from this address; repeat the request later"}
	}
	if d.limits.fail(source) {
		d.logger.WarnContext(r.Context(), "authentication refused", "source", source.String(), "reason", failed.reason, "error", failed.err.Error())
	}
	return "", g.challenge("the credentials are not known here: " + g.wanted())
}

func (g *guests) challenge(text string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Challenges: g.schemes, text: text}
}

// wanted names the ways in.
func (g *guests) wanted() string {
	var ways []string
	if len(g.passwords) > 0 {
		ways = append(ways, "a user and password as HTTP basic authentication")
	}
	if len(g.tokens) > 0 {
		ways = append(ways, "a bearer token")
	}
	if len(g.certificates) > 0 {
		ways = append(ways, "a client certificate")
	}
	if len(ways) == 0 {
		return "nobody is"
	}
	return strings.Join(ways, ", or ")
}

// identify looks at the Authorization header, and where there is none at the
// client's certificate.
func (d *Door) identify(g *guests, source netip.Addr, r *http.Request) (string, *failure) {
	sent := r.Header.Values("Authorization")
	if len(sent) > 1 {
		return "", &failure{badPassword, errors.New("several Authorization headers")}
	}
	if len(sent) == 0 {
		return g.byCertificate(r)
	}
	scheme, value, _ := strings.Cut(sent[0], " ")
	switch strings.ToLower(scheme) {
	case "basic":
		return d.byPassword(g, source, r)
	case "bearer":
		return d.byToken(r.Context(), g, strings.TrimSpace(value))
	}
	return "", &failure{badPassword, errors.New("neither Basic nor Bearer")}
}

// byPassword compares with all passwords. A source that guesses is not answered
// even where it guesses right, unless the very credentials were good before:
// others behind the same address go on.
func (d *Door) byPassword(g *guests, source netip.Addr, r *http.Request) (string, *failure) {
	credentials := sha256.Sum256([]byte(r.Header.Get("Authorization")))
	name, ok := g.byPassword(r)
	if d.limits.exhausted(source) && !(ok && d.limits.proven(credentials)) {
		return "", &failure{reason: tooMany}
	}
	if !ok {
		return "", &failure{badPassword, errors.New("no such user and password")}
	}
	d.limits.prove(credentials)
	return name, nil
}
