package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// session is a token of an account in one scope, renewed when a service refuses it. gophercloud
// serializes the renewals.
type session struct {
	cloud    *Cloud
	options  gophercloud.AuthOptions
	provider *gophercloud.ProviderClient
}

// newSession makes a session without an outside call. Only a renewable one authenticates again.
func (c *Cloud) newSession(options gophercloud.AuthOptions, renewable bool) *session {
	s := &session{cloud: c, options: options, provider: c.newProvider()}
	s.provider.UseTokenLock()
	if renewable {
		s.provider.ReauthFunc = s.authenticate
	}
	return s
}

// newProvider makes a client without a token.
func (c *Cloud) newProvider() *gophercloud.ProviderClient {
	t := transport{keystone: trimSlash(c.config.AuthURL), service: c.service.Name, next: c.http}
	return &gophercloud.ProviderClient{HTTPClient: http.Client{Timeout: callTimeout, Transport: t}}
}

// broker returns how the broker's account authenticates.
func (c *Cloud) broker(scope gophercloud.AuthScope) gophercloud.AuthOptions {
	return gophercloud.AuthOptions{
		Username: c.config.Username, Password: c.config.Password.Reveal(), DomainName: c.config.Domain, Scope: &scope,
	}
}

// ensure authenticates unless there is a token.
func (s *session) ensure(ctx context.Context) error {
	if s.provider.Token() != "" {
		return nil
	}
	if s.provider.ReauthFunc == nil {
		return s.authenticate(ctx)
	}
	return s.provider.Reauthenticate(ctx, "")
}

// authenticate gets a token, and forgets the one before it in any case. It refuses a token of an
// administrator.
func (s *session) authenticate(ctx context.Context) error {
	s.provider.SetToken("") //nolint:staticcheck // without a result there is nothing else to set
	result, err := s.cloud.newToken(ctx, s.options)
	if err != nil {
		return err
	}
	if s == s.cloud.domain {
		if err := s.cloud.checkElsewhere(ctx, result); err != nil {
			return err
		}
	}
	return s.provider.SetTokenAndAuthResult(result)
}

// newToken gets a token that is not an administrator's.
func (c *Cloud) newToken(ctx context.Context, options gophercloud.AuthOptions) (tokens.CreateResult, error) {
	result := tokens.Create(ctx, c.identity(c.newProvider()), &options)
	if result.Err != nil {
		return result, result.Err
	}
	return result, c.checkRoles(result)
}

// identity returns a client of Keystone.
func (c *Cloud) identity(p *gophercloud.ProviderClient) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{ProviderClient: p, Endpoint: trimSlash(c.config.AuthURL) + "/", Type: "identity"}
}

// keystone returns a client of Keystone with the session's token.
func (s *session) keystone(ctx context.Context) (*gophercloud.ServiceClient, error) {
	if err := s.ensure(ctx); err != nil {
		return nil, err
	}
	return s.cloud.identity(s.provider), nil
}

// result is the answer that the session's token came with.
func (s *session) result() (tokens.CreateResult, error) {
	result, ok := s.provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return result, errors.New("the token has just been refused")
	}
	return result, nil
}

// identities are the IDs of the session's user and domain.
func (s *session) identities(ctx context.Context) (user, domain string, err error) {
	if err := s.ensure(ctx); err != nil {
		return "", "", err
	}
	result, err := s.result()
	if err != nil {
		return "", "", err
	}
	u, err := result.ExtractUser()
	if err != nil || u == nil {
		return "", "", errors.Join(errors.New("the token does not say whose it is"), err)
	}
	return u.ID, u.Domain.ID, nil
}

const (
	admin = "admin"
	// maxElsewhere is in how many places outside its domain the account's roles are checked.
	maxElsewhere = 20
)

// refusal is the error of an account with too many rights.
type refusal struct{ account, where string }

func (r *refusal) Error() string {
	return fmt.Sprintf("the broker refuses to work with the account %s: it has the role %s %s, and Keystone lets an administrator of any domain or project administer the whole cloud; "+
		"remove this role, and give the account only the broker's role on its domain", r.account, admin, r.where)
}

// checkRoles refuses a token with the role of administrators.
func (c *Cloud) checkRoles(result tokens.CreateResult) error {
	roles, err := result.ExtractRoles()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(roles, func(r tokens.Role) bool { return strings.EqualFold(r.Name, admin) }) {
		return nil
	}
	where := "in the whole system"
	if p, err := result.ExtractProject(); err == nil && p != nil && p.ID != "" {
		where = "in the project " + p.Name
	} else if d, err := result.ExtractDomain(); err == nil && d != nil && d.ID != "" {
		where = "on the domain " + d.Name
	}
	return &refusal{c.config.Username, where}
}

// checkElsewhere refuses an account that is an administrator outside of its domain. Roles in the
// domain's projects are checked whenever the account enters one.
func (c *Cloud) checkElsewhere(ctx context.Context, result tokens.CreateResult) error {
	u, err := result.ExtractUser()
	if err != nil {
		return err
	}
	p := c.newProvider()
	if err := p.SetTokenAndAuthResult(result); err != nil {
		return err
	}
	scopes, err := c.scopes(ctx, c.identity(p), u.Domain.ID)
	if err != nil {
		return err
	}
	for _, scope := range scopes[:min(len(scopes), maxElsewhere)] {
		if _, err := c.newToken(ctx, c.broker(scope)); err != nil && Status(err) == 0 { // a disabled project has no tokens
			return err
		}
	}
	return nil
}

// scopes are where the account has a role outside of its domain.
func (c *Cloud) scopes(ctx context.Context, keystone *gophercloud.ServiceClient, domain string) (scopes []gophercloud.AuthScope, err error) {
	var system struct{ System []any }
	if err := Call(ctx, keystone, http.MethodGet, keystone.ServiceURL("auth", "system"), nil, &system); err != nil {
		return nil, err
	}
	if len(system.System) > 0 {
		scopes = append(scopes, gophercloud.AuthScope{System: true})
	}
	domains, err := list(ctx, keystone, "domains", keystone.ServiceURL("auth", "domains"))
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		if d.ID != domain {
			scopes = append(scopes, gophercloud.AuthScope{DomainID: d.ID})
		}
	}
	projects, err := list(ctx, keystone, "projects", keystone.ServiceURL("auth", "projects"))
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		if p.DomainID != domain {
			scopes = append(scopes, gophercloud.AuthScope{ProjectID: p.ID})
		}
	}
	return scopes, nil
}

// verify returns nil if the session's token is still good, and not an administrator's.
func (s *session) verify(ctx context.Context) error {
	keystone, err := s.keystone(ctx)
	if err != nil {
		return err
	}
	token := s.provider.Token()
	result := tokens.Get(ctx, keystone, token)
	if Absent(result.Err) || s.provider.Token() != token { // it was renewed just now, and checked
		return s.ensure(ctx)
	}
	if result.Err != nil {
		return result.Err
	}
	if err := s.cloud.checkRoles(tokens.CreateResult(result)); err != nil {
		s.provider.SetToken("") //nolint:staticcheck // every operation has to authenticate again, and is refused
		return err
	}
	return nil
}
