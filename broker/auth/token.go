package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// tokenPrincipal sends a bearer token (RFC 6750), a JWT of its issuer.
type tokenPrincipal struct {
	name  string
	rules catalog.Tokens
}

// longestToken is far above the length of issuers' tokens.
const longestToken = 16 << 10

// claims are the checked claims of a JWT (RFC 7519, RFC 9068). Scopes are a text in
// scope, or a list in scope or scp.
type claims struct {
	Issuer    string  `json:"iss"`
	Subject   string  `json:"sub"`
	Expiry    numeric `json:"exp"`
	NotBefore numeric `json:"nbf"`
	IssuedAt  numeric `json:"iat"`
	Scope     words   `json:"scope"`
	Scp       words   `json:"scp"`
}

// numeric is a NumericDate; nil if the claim is absent.
type numeric struct{ *time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (n *numeric) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1e11 {
		return errors.New("the time is out of range")
	}
	t := time.Unix(int64(seconds), 0)
	n.Time = &t
	return nil
}

// words is a list of words, or a text with spaces between them.
type words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*w = strings.Fields(one)
		return nil
	}
	return json.Unmarshal(text, (*[]string)(w))
}

// byToken finds the first client whose rules the token satisfies.
func (a *Authenticator) byToken(ctx context.Context, p *principals, token string) (string, *failure) {
	issuer, err := issuerOf(token)
	if err != nil {
		return "", &failure{badToken, err}
	}
	err = errors.New("no client has this issuer")
	for _, principal := range p.tokens {
		if principal.rules.Issuer != issuer {
			continue
		}
		if err = a.verify(ctx, principal.rules, token); err == nil {
			return principal.name, nil
		}
		if _, away := errors.AsType[*awayError](err); away {
			return "", &failure{issuerAway, err}
		}
	}
	return "", &failure{badToken, err}
}

// issuerOf reads the issuer of a token that is not verified yet.
func issuerOf(token string) (string, error) {
	if len(token) > longestToken {
		return "", errors.New("the token is too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("not a signed JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("not a signed JWT")
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &c) != nil || c.Issuer == "" {
		return "", errors.New("the token has no issuer (iss)")
	}
	return c.Issuer, nil
}

// verify checks a token by one client's rules.
func (a *Authenticator) verify(ctx context.Context, rules catalog.Tokens, token string) error {
	verified, err := a.issuers.verify(ctx, rules, token)
	if err != nil {
		return err
	}
	var c claims
	if err := verified.Claims(&c); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	if err := c.timely(time.Now(), rules.ClockSkew); err != nil {
		return err
	}
	scopes := append(slices.Clone(c.Scope), c.Scp...)
	for _, scope := range rules.Scopes {
		if !slices.Contains(scopes, scope) {
			return fmt.Errorf("the token lacks the scope %q", scope)
		}
	}
	if len(rules.Subjects) > 0 && !slices.Contains(rules.Subjects, c.Subject) {
		return errors.New("the subject (sub) is not among the client's subjects")
	}
	return nil
}

// algorithms are those with a public key: with symmetric ones, everybody who can verify
// a token could sign one.
func algorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
}

func (c claims) timely(now time.Time, skew time.Duration) error {
	switch {
	case c.Expiry.Time == nil:
		return errors.New("the token has no expiry (exp)")
	case !now.Before(c.Expiry.Add(skew)):
		return fmt.Errorf("the token expired at %s", c.Expiry.UTC().Format(time.RFC3339))
	case c.NotBefore.Time != nil && now.Add(skew).Before(*c.NotBefore.Time):
		return fmt.Errorf("the token is not valid before %s; compare the clocks", c.NotBefore.UTC().Format(time.RFC3339))
	case c.IssuedAt.Time != nil && now.Add(skew).Before(*c.IssuedAt.Time):
		return fmt.Errorf("the token was issued at %s, which is in the future; compare the clocks", c.IssuedAt.UTC().Format(time.RFC3339))
	}
	return nil
}
