package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// tokenPrincipal sends a bearer token (RFC 6750), a JWT of its issuer.
type tokenPrincipal struct {
	name  string
	rules catalog.Tokens
}

// longestToken is far above the length of issuers' tokens.
const longestToken = 16 << 10

// claims are those that the library does not check (RFC 7519, RFC 9068). Scopes are a text in
// scope, or a list in scope or scp.
type claims struct {
	NotBefore float64 `json:"nbf"`
	Scope     words   `json:"scope"`
	Scp       words   `json:"scp"`
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

// issuerOf reads the issuer of a token that is not verified yet. Errors do not quote the
// token.
func issuerOf(token string) (string, error) {
	if len(token) > longestToken {
		return "", errors.New("the token is too long")
	}
	parsed, err := jwt.ParseSigned(token, algorithms())
	if err != nil {
		return "", errors.New("not a JWT, or not signed with a public key")
	}
	var c jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&c) != nil || c.Issuer == "" {
		return "", errors.New("the token has no issuer (iss), or invalid claims")
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
	if err := timely(verified, c.NotBefore, rules.ClockSkew); err != nil {
		return err
	}
	scopes := append(slices.Clone(c.Scope), c.Scp...)
	for _, scope := range rules.Scopes {
		if !slices.Contains(scopes, scope) {
			return fmt.Errorf("the token lacks the scope %q", scope)
		}
	}
	if len(rules.Subjects) > 0 && !slices.Contains(rules.Subjects, verified.Subject) {
		return errors.New("the subject (sub) is not among the client's subjects")
	}
	return nil
}

// algorithms have public keys: with symmetric ones, everybody who can verify a token could
// sign one.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
}

func timely(token *oidc.IDToken, notBefore float64, skew time.Duration) error {
	now := time.Now()
	switch {
	case token.Expiry.IsZero():
		return errors.New("the token has no expiry (exp)")
	case !now.Before(token.Expiry.Add(skew)):
		return fmt.Errorf("the token expired at %s", token.Expiry.UTC().Format(time.RFC3339))
	case float64(now.Add(skew).Unix()) < notBefore:
		const year5138 = 1e11 // so that it can be printed
		begin := time.Unix(int64(min(notBefore, year5138)), 0)
		return fmt.Errorf("the token is not valid before %s; compare the clocks", begin.UTC().Format(time.RFC3339))
	case now.Add(skew).Before(token.IssuedAt):
		return fmt.Errorf("the token was issued at %s, which is in the future; compare the clocks", token.IssuedAt.UTC().Format(time.RFC3339))
	}
	return nil
}
