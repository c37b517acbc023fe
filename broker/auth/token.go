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

// tokenGuest comes with a bearer token (RFC 6750), a JWT of its issuer.
type tokenGuest struct {
	name  string
	rules catalog.Tokens
}

// longestToken is far above what issuers make.
const longestToken = 16 << 10

// claims are what is looked at in a JWT (RFC 7519, RFC 9068). Scopes are in
// scope, one text, or in scope or scp, a list.
type claims struct {
	Issuer    string  `json:"iss"`
	Subject   string  `json:"sub"`
	Expiry    numeric `json:"exp"`
	NotBefore numeric `json:"nbf"`
	IssuedAt  numeric `json:"iat"`
	Scope     words   `json:"scope"`
	Scp       words   `json:"scp"`
}

// numeric is a NumericDate; nil where it is absent.
type numeric struct{ *time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (n *numeric) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1e11 {
		return errors.New("no such time")
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

// byToken finds the first client whose rules the token follows.
func (d *Door) byToken(ctx context.Context, g *guests, token string) (string, *failure) {
	issuer, err := issuerOf(token)
	if err != nil {
		return "", &failure{badToken, err}
	}
	err = errors.New("no client has this issuer")
	for _, guest := range g.tokens {
		if guest.rules.Issuer != issuer {
			continue
		}
		var away *awayError
		if err = d.verify(ctx, guest.rules, token); err == nil {
			return guest.name, nil
		} else if errors.As(err, &away) {
			return "", &failure{issuerAway, err}
		}
	}
	return "", &failure{badToken, err}
}

// issuerOf reads who issued a token, if it is to be believed.
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
		return "", errors.New("a JWT without an issuer")
	}
	return c.Issuer, nil
}

// verify checks a token by one client's rules.
func (d *Door) verify(ctx context.Context, rules catalog.Tokens, token string) error {
	keys, err := d.issuers.keys(ctx, rules)
	if err != nil {
		return err
	}
	// Times are checked below: the library's leeway is one of its own.
	verified, err := oidc.NewVerifier(rules.Issuer, keys, &oidc.Config{
		ClientID: rules.Audience, SupportedSigningAlgs: algorithms(), SkipExpiryCheck: true,
	}).Verify(ctx, token)
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
			return fmt.Errorf("the scope %q is missing", scope)
		}
	}
	if len(rules.Subjects) > 0 && !slices.Contains(rules.Subjects, c.Subject) {
		return errors.New("the subject is none of the client's")
	}
	return nil
}

// algorithms are those with a public key: with the others, whoever knows that
// key could sign.
func algorithms() []string {
	return []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}
}

func (c claims) timely(now time.Time, skew time.Duration) error {
	switch {
	case c.Expiry.Time == nil:
		return errors.New("the token has no end (exp)")
	case !now.Before(c.Expiry.Add(skew)):
		return fmt.Errorf("the token expired at %s", c.Expiry.UTC().Format(time.RFC3339))
	case c.NotBefore.Time != nil && now.Add(skew).Before(*c.NotBefore.Time):
		return fmt.Errorf("the token is not good before %s; compare the clocks", c.NotBefore.UTC().Format(time.RFC3339))
	case c.IssuedAt.Time != nil && now.Add(skew).Before(*c.IssuedAt.Time):
		return fmt.Errorf("the token was issued at %s, which is to come; compare the clocks", c.IssuedAt.UTC().Format(time.RFC3339))
	}
	return nil
}
