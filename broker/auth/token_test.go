package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// issuer is an OpenID provider as far as keys go.
type issuer struct {
	*httptest.Server
	fetches atomic.Int64
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	down    bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

// ServeHTTP implements http.Handler.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.down:
		http.Error(w, "down", http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	case r.URL.Path == "/keys":
		i.fetches.Add(1)
		set := jose.JSONWebKeySet{}
		for _, k := range i.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		_ = json.NewEncoder(w).Encode(set)
	}
}

func (i *issuer) setDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// rotate signs with a new key from now on; the older ones go.
func (i *issuer) rotate(t *testing.T, key crypto.Signer, id string, algorithm jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	made := jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(algorithm), Use: "sig"}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []jose.JSONWebKey{made}
	return made
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, key any, algorithm jose.SignatureAlgorithm, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// good are claims that the rules below admit, changed.
func good(i *issuer, change map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL, "aud": "chandler", "sub": "cloud_controller", "scope": "broker.use other",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for key, value := range change {
		if c[key] = value; value == nil {
			delete(c, key)
		}
	}
	return c
}

func tokens(i *issuer) *catalog.Tokens {
	return &catalog.Tokens{Issuer: i.URL, Audience: "chandler", Scopes: []string{"broker.use"}, ClockSkew: time.Minute}
}

func send(d *Authenticator, token string) (string, error) {
	r := httptest.NewRequest("GET", "/v2/catalog", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return d.Authenticate(r)
}

// status is an answer's in HTTP.
func status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return refusal(err).Status
}

// refusal is what an error tells the client: nothing where it is no Refusal.
func refusal(err error) Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return *r
	}
	return Refusal{}
}

func TestTokens(t *testing.T) {
	at, foreign := newIssuer(t), newIssuer(t)
	rs, es := rsaKey(t), ecKey(t)
	keyRS := at.rotate(t, rs, "rs", jose.RS256)
	at.keys = append(at.keys, jose.JSONWebKey{Key: es, KeyID: "es", Algorithm: "ES256", Use: "sig"})
	keyES := at.keys[1]
	keyForeign := foreign.rotate(t, ecKey(t), "es", jose.ES256)
	now := time.Now()
	publicPEM, err := x509.MarshalPKIXPublicKey(rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicPEM})
	none := func() string {
		encode := base64.RawURLEncoding.EncodeToString
		payload, _ := json.Marshal(good(at, nil))
		return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "."
	}
	es256 := func(change map[string]any) string { return sign(t, keyES, jose.ES256, good(at, change)) }
	whole := es256(nil)
	other := map[string]any{"aud": []string{"x", "k8s"}, "sub": "cluster", "scope": nil}
	for _, test := range []struct{ name, token, want string }{
		{"RSA", sign(t, keyRS, jose.RS256, good(at, nil)), "cf"},
		{"elliptic curve", whole, "cf"},
		{"scopes as a list", es256(map[string]any{"scope": []string{"broker.use"}}), "cf"},
		{"scopes in scp", es256(map[string]any{"scope": nil, "scp": []string{"broker.use"}}), "cf"},
		{"another platform of the same issuer", es256(other), "k8s"},
		{"expired within the skew", es256(map[string]any{"exp": now.Add(-50 * time.Second).Unix()}), "cf"},
		{"not yet good within the skew", es256(map[string]any{"nbf": now.Add(50 * time.Second).Unix()}), "cf"},

		{"not signed", none(), ""},
		{"signed with the public key", sign(t, jose.JSONWebKey{Key: secret, KeyID: "rs"}, jose.HS256, good(at, nil)), ""},
		{"signed by another issuer", sign(t, keyForeign, jose.ES256, good(at, nil)), ""},
		{"another issuer", sign(t, keyForeign, jose.ES256, good(foreign, nil)), ""},
		{"changed", whole[:len(whole)-6] + "AAAAAA", ""},
		{"another audience", es256(map[string]any{"aud": "chandler2"}), ""},
		{"no audience", es256(map[string]any{"aud": nil}), ""},
		{"no scope", es256(map[string]any{"scope": "broker.user"}), ""},
		{"another subject", es256(map[string]any{"aud": "k8s", "sub": "cluster2"}), ""},
		{"expired", es256(map[string]any{"exp": now.Add(-70 * time.Second).Unix()}), ""},
		{"without an end", es256(map[string]any{"exp": nil}), ""},
		{"an end that is text", es256(map[string]any{"exp": "tomorrow"}), ""},
		{"not yet good", es256(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), ""},
		{"issued in the future", es256(map[string]any{"iat": now.Add(2 * time.Minute).Unix()}), ""},
		{"no issuer", es256(map[string]any{"iss": nil}), ""},
		{"empty", "", ""},
		{"not a token", "abc.def", ""},
		{"not JSON", "abc.def.ghi", ""},
		{"endless", strings.Repeat("a", 1<<20) + ".b.c", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newAuthenticator(t,
				catalog.Client{Name: "cf", Tokens: tokens(at)},
				catalog.Client{Name: "k8s", Tokens: &catalog.Tokens{Issuer: at.URL, JWKSURL: at.URL + "/keys", Audience: "k8s", Subjects: []string{"cluster"}, ClockSkew: time.Minute}})
			got, err := send(d, test.token)
			want := http.StatusOK
			if test.want == "" {
				want = http.StatusUnauthorized
			}
			if got != test.want || status(err) != want {
				t.Errorf("%q, %v", got, err)
			}
			if challenges := refusal(err).Challenges; err != nil && strings.Join(challenges, "") != `Bearer realm="service broker"` {
				t.Errorf("challenges %q", challenges)
			}
		})
	}
}

// An issuer's new key is found, and unknown ones do not make us ask for each.
func TestIssuerRotates(t *testing.T) {
	at := newIssuer(t)
	old := at.rotate(t, ecKey(t), "old", jose.ES256)
	d := newAuthenticator(t, catalog.Client{Name: "cf", Tokens: tokens(at)})
	if _, err := send(d, sign(t, old, jose.ES256, good(at, nil))); err != nil {
		t.Fatal(err)
	}
	made := at.rotate(t, ecKey(t), "new", jose.ES256)
	token := sign(t, made, jose.ES256, good(at, nil))
	for end := time.Now().Add(10 * retryIssuer); ; {
		_, err := send(d, token)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		d.limits = newLimits()
		time.Sleep(retryIssuer / 10)
	}
	before := at.fetches.Load()
	unknown := jose.JSONWebKey{Key: ecKey(t), KeyID: "unknown", Algorithm: "ES256"}
	for range 50 {
		if _, err := send(d, sign(t, unknown, jose.ES256, good(at, nil))); err == nil {
			t.Fatal("a token with an unknown key is accepted")
		}
	}
	if n := at.fetches.Load() - before; n > 10 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// An issuer that does not answer affects only its own clients, and only until it answers.
func TestIssuerAway(t *testing.T) {
	at := newIssuer(t)
	key := at.rotate(t, ecKey(t), "k", jose.ES256)
	at.setDown(true)
	d := newAuthenticator(t, catalog.Client{Name: "cf", Tokens: tokens(at)}, catalog.Client{Name: "direct", Tokens: &catalog.Tokens{
		Issuer: at.URL, JWKSURL: at.URL + "/keys", Audience: "direct", ClockSkew: time.Minute,
	}}, basicClient("basic"))
	token := sign(t, key, jose.ES256, good(at, nil))
	if _, err := send(d, token); status(err) != http.StatusServiceUnavailable || refusal(err).RetryAfter == 0 {
		t.Fatal(err)
	}
	if name, err := d.Authenticate(basic("10.0.0.1", "basic", "password-of-basic")); name != "basic" {
		t.Fatal(err)
	}
	direct := newAuthenticator(t, catalog.Client{Name: "direct", Tokens: &catalog.Tokens{Issuer: at.URL, JWKSURL: at.URL + "/keys", Audience: "chandler"}})
	if _, err := send(direct, token); status(err) != http.StatusServiceUnavailable {
		t.Errorf("the keys cannot be fetched: %v", err)
	}
	at.setDown(false)
	for end := time.Now().Add(10 * retryIssuer); ; time.Sleep(retryIssuer / 10) {
		name, err := send(d, token)
		if name == "cf" {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add("Bearer a.e30.c")
	f.Add("Basic Og==")
	f.Add("bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://127.0.0.1:1"}`)) + ".x")
	f.Fuzz(func(t *testing.T, header string) {
		d := newAuthenticator(t, catalog.Client{Name: "cf", Tokens: &catalog.Tokens{Issuer: "http://127.0.0.1:1", Audience: "a"}}, basicClient("basic"))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{header}
		if name, err := d.Authenticate(r); err == nil && name != "basic" {
			t.Errorf("%q is %s", header, name)
		}
	})
}
