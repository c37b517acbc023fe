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
	// askIssuer is how long an issuer may take to answer.
	askIssuer = 5 * time.Second
	// retryIssuer is how long an answer of an issuer stands, good or not: tokens
	// with keys that nobody knows must not make us ask it for each of them. A new
	// key is known so much later, at most.
	retryIssuer = 2 * time.Second
	// mostBytes is far above what an issuer answers.
	mostBytes = 1 << 20
)

// issuers keeps what is known of issuers of tokens. It is safe for concurrent
// use.
type issuers struct {
	client *http.Client
	mu     sync.Mutex
	known  map[source]*oidc.RemoteKeySet
}

// source is where an issuer's keys are: at its JWKS URL, or where its metadata
// says (OpenID Connect Discovery 1.0).
type source struct{ issuer, jwksURL string }

func newIssuers() *issuers {
	return &issuers{
		client: &http.Client{Timeout: askIssuer, Transport: &seldom{next: http.DefaultTransport, answers: map[string]*told{}}},
		known:  map[source]*oidc.RemoteKeySet{},
	}
}

// awayError says that an issuer could not be asked.
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

// discover asks the issuer where its keys are. oidc.NewProvider would do, and
// would not tell an issuer that is away from one that is another.
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
		return "", fmt.Errorf("%s answers %s", request.URL, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, mostBytes)).Decode(&metadata); err != nil {
		return "", fmt.Errorf("%s: %w", request.URL, err)
	}
	if metadata.Issuer != issuer || metadata.JWKSURI == "" {
		return "", fmt.Errorf("%s is of the issuer %q, not of %q, or has no jwks_uri", request.URL, metadata.Issuer, issuer)
	}
	return metadata.JWKSURI, nil
}

// keySet tells keys that cannot be fetched from signatures that are not good.
type keySet struct{ *oidc.RemoteKeySet }

// VerifySignature implements oidc.KeySet.
func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.RemoteKeySet.VerifySignature(ctx, jwt)
	if err != nil && strings.Contains(err.Error(), "fetching keys") { // the library has no type for it
		return nil, &awayError{err}
	}
	return payload, err
}

// seldom asks for one address no more often than every retryIssuer, and repeats
// the answer meanwhile.
type seldom struct {
	next    http.RoundTripper
	mu      sync.Mutex
	answers map[string]*told
}

// told is an answer that stands for a while.
type told struct {
	mu     sync.Mutex
	at     time.Time
	status int
	header http.Header
	body   []byte
	err    error
}

var errTooLong = errors.New("the answer is too long")

// RoundTrip implements http.RoundTripper. The addresses are the operator's few.
func (s *seldom) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	t := s.answers[r.URL.String()]
	if t == nil {
		t = &told{}
		s.answers[r.URL.String()] = t
	}
	s.mu.Unlock()
	t.mu.Lock() // who comes meanwhile waits for the same answer
	defer t.mu.Unlock()
	if time.Since(t.at) >= retryIssuer {
		t.ask(r, s.next)
	}
	if t.err != nil {
		return nil, t.err
	}
	return &http.Response{
		StatusCode: t.status, Status: http.StatusText(t.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: t.header.Clone(), Body: io.NopCloser(bytes.NewReader(t.body)), ContentLength: int64(len(t.body)), Request: r,
	}, nil
}

// ask goes on when the request that began it was given up: others wait for it.
func (t *told) ask(r *http.Request, next http.RoundTripper) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askIssuer)
	defer cancel()
	response, err := next.RoundTrip(r.Clone(ctx))
	t.at = time.Now()
	if t.err = err; err != nil {
		return
	}
	defer response.Body.Close()
	t.status, t.header = response.StatusCode, response.Header
	if t.body, t.err = io.ReadAll(io.LimitReader(response.Body, mostBytes+1)); len(t.body) > mostBytes {
		t.err = errTooLong
	}
}
