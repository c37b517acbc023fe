package auth

import (
	"bytes"
	"context"
	"encoding/json"
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

// issuers caches the keys of token issuers. It is safe for concurrent use.
type issuers struct {
	client *http.Client
	mu     sync.Mutex
	known  map[source]*oidc.RemoteKeySet
}

// source locates an issuer's keys: at its JWKS URL or, if that is empty, where its
// metadata says (OpenID Connect Discovery 1.0).
type source struct{ issuer, jwksURL string }

func newIssuers() *issuers {
	return &issuers{
		client: &http.Client{Timeout: askIssuer, Transport: &cache{next: http.DefaultTransport, answers: map[string]*answer{}}},
		known:  map[source]*oidc.RemoteKeySet{},
	}
}

// awayError says that an issuer did not answer.
type awayError struct{ err error }

func (e *awayError) Error() string { return e.err.Error() }
func (e *awayError) Unwrap() error { return e.err }

// keys returns the keys of an issuer, which fetch what they lack.
func (i *issuers) keys(ctx context.Context, rules catalog.Tokens) (oidc.KeySet, error) {
	at := source{rules.Issuer, rules.JWKSURL}
	i.mu.Lock()
	set := i.known[at]
	i.mu.Unlock()
	if set != nil {
		return keySet{set}, nil
	}
	jwks := rules.JWKSURL
	if jwks == "" {
		var err error
		if jwks, err = i.discover(ctx, rules.Issuer); err != nil {
			return nil, &awayError{err}
		}
	}
	// The key set lives longer than the request that makes it.
	set = oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), i.client), jwks)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known[at] = set
	return keySet{set}, nil
}

// discover asks the issuer where its keys are. oidc.NewProvider would not distinguish
// an issuer that is away from a wrong one.
func (i *issuers) discover(ctx context.Context, issuer string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", nil)
	if err != nil {
		return "", err
	}
	response, err := i.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", request.URL, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, mostBytes)).Decode(&metadata); err != nil {
		return "", fmt.Errorf("%s: %w", request.URL, err)
	}
	if metadata.Issuer != issuer || metadata.JWKSURI == "" {
		return "", fmt.Errorf("%s names the issuer %q instead of %q, or has no jwks_uri", request.URL, metadata.Issuer, issuer)
	}
	return metadata.JWKSURI, nil
}

// keySet distinguishes keys that cannot be fetched from invalid signatures.
type keySet struct{ *oidc.RemoteKeySet }

// VerifySignature implements oidc.KeySet.
func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, jwt)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // the library has no type for it
		return nil, &awayError{err}
	}
	return payload, err
}

// cache reuses the answer of an address for retryIssuer.
type cache struct {
	next    http.RoundTripper
	mu      sync.Mutex
	answers map[string]*answer // by URL; the operator configures few
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
	c.mu.Lock()
	a := c.answers[r.URL.String()]
	if a == nil {
		a = &answer{}
		c.answers[r.URL.String()] = a
	}
	c.mu.Unlock()
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
