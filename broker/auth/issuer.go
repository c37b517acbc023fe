package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/chandler-broker/chandler/broker/catalog"
)

const (
	// askIssuer limits a request to an issuer.
	askIssuer = 5 * time.Second
	// retryIssuer is how long an issuer's answer is reused, so that tokens with unknown
	// keys cause no request each. A new key is accepted after this time at the latest.
	retryIssuer = 2 * time.Second
	// mostBytes is far above the length of an issuer's answer.
	mostBytes = 1 << 20
)

// issuers caches the verifiers of tokens. It is safe for concurrent use.
type issuers struct {
	client *http.Client
	known  sync.Map // of verifiers, by source
}

// source is an issuer and where its keys are: at its JWKS URL or, if that is empty, where
// its metadata says (OpenID Connect Discovery 1.0).
type source struct{ issuer, jwksURL, audience string }

func newIssuers() *issuers {
	return &issuers{client: &http.Client{Timeout: askIssuer, Transport: &cache{next: http.DefaultTransport}}}
}

// awayError says that an issuer did not answer. Its text is short, whatever the issuer's
// answer, which the library quotes, was.
type awayError struct{ err error }

func (e *awayError) Error() string {
	const longest = 200
	text := e.err.Error()
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

func (e *awayError) Unwrap() error { return e.err }

// verify checks a token's signature, issuer and audience.
func (i *issuers) verify(ctx context.Context, rules catalog.Tokens, token string) (*oidc.IDToken, error) {
	verifier, err := i.verifier(rules)
	if err != nil {
		return nil, &awayError{err}
	}
	verified, err := verifier.Verify(ctx, token)
	if err != nil && strings.HasPrefix(err.Error(), "failed to verify signature: fetching keys") { // the library has no type for it
		return nil, &awayError{err}
	}
	return verified, err
}

// verifier finds the issuer's keys and returns a verifier, which fetches them when needed.
func (i *issuers) verifier(rules catalog.Tokens) (*oidc.IDTokenVerifier, error) {
	at := source{rules.Issuer, rules.JWKSURL, rules.Audience}
	if known, ok := i.known.Load(at); ok {
		return known.(*oidc.IDTokenVerifier), nil
	}
	var names []string
	for _, a := range algorithms() {
		names = append(names, string(a))
	}
	// timely checks the times, because the library's leeway is fixed.
	config := &oidc.Config{ClientID: rules.Audience, SupportedSigningAlgs: names, SkipExpiryCheck: true}
	// A verifier lives longer than the request that makes it.
	ctx := oidc.ClientContext(context.Background(), i.client)
	jwks := rules.JWKSURL
	if jwks == "" {
		provider, err := oidc.NewProvider(ctx, rules.Issuer)
		if err != nil {
			return nil, err
		}
		var metadata struct {
			JWKSURI string `json:"jwks_uri"`
		}
		if err := provider.Claims(&metadata); err != nil || metadata.JWKSURI == "" {
			return nil, fmt.Errorf("the metadata of %s has no jwks_uri", rules.Issuer)
		}
		jwks = metadata.JWKSURI
	}
	made := oidc.NewVerifier(rules.Issuer, oidc.NewRemoteKeySet(ctx, jwks), config)
	i.known.Store(at, made)
	return made, nil
}

// cache reuses the answer of an address for retryIssuer.
type cache struct {
	next    http.RoundTripper
	answers sync.Map // by URL; the operator configures few
}

type answer struct {
	mu     sync.Mutex
	at     time.Time
	status int
	header http.Header
	body   []byte
	err    error
}

var errTooLong = errors.New("the answer is too long")

// RoundTrip implements http.RoundTripper.
func (c *cache) RoundTrip(r *http.Request) (*http.Response, error) {
	stored, _ := c.answers.LoadOrStore(r.URL.String(), &answer{})
	a := stored.(*answer)
	a.mu.Lock() // concurrent requests wait for the same answer
	defer a.mu.Unlock()
	if time.Since(a.at) >= retryIssuer {
		a.fetch(r, c.next)
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r,
	}, nil
}

// fetch continues after its request is cancelled, because others wait for its answer.
func (a *answer) fetch(r *http.Request, next http.RoundTripper) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askIssuer)
	defer cancel()
	response, err := next.RoundTrip(r.Clone(ctx))
	a.at = time.Now()
	if a.err = err; err != nil {
		return
	}
	defer response.Body.Close()
	a.status, a.header = response.StatusCode, response.Header
	if a.body, a.err = io.ReadAll(io.LimitReader(response.Body, mostBytes+1)); len(a.body) > mostBytes {
		a.err = errTooLong
	}
}
