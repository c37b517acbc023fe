package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// Bind implements services.Backend. The binding is a signing key of the account, with the
// binding's rights. That key signs the binding's one user.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	k, err := deriveBinding(r.Binding.Seed)
	if err != nil {
		return services.BindResult{}, err
	}
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil {
		return services.BindResult{}, err
	}
	if !a.usable() {
		return services.BindResult{}, errors.New("the instance's account does not exist or is incomplete; provision the instance again")
	}
	since, changed := a.admit(r.Binding.Name, k.signerPublic, permissions(r.Binding.Params))
	if changed || !a.agreed {
		if err := a.push(ctx); err != nil {
			return services.BindResult{}, err
		}
	}
	token, err := userToken(a.public, r.Binding.Name, since, k)
	if err != nil {
		return services.BindResult{}, err
	}
	credentials, err := b.public.credentials(token, k.seed)
	return services.BindResult{Credentials: credentials}, err
}

// Verify implements services.Verifier. It narrows what earlier versions granted.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	k, err := deriveBinding(r.Binding.Seed)
	if err != nil {
		return services.VerifyResult{}, err
	}
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil || !a.usable() || a.scope(r.Binding.Name) == nil {
		return services.VerifyResult{}, err
	}
	if _, changed := a.admit(r.Binding.Name, k.signerPublic, permissions(r.Binding.Params)); !changed && a.agreed && a.copyable() {
		return services.VerifyResult{}, nil
	}
	return services.VerifyResult{}, a.push(ctx)
}

// Unbind implements services.Backend. The servers disconnect a user whose signing key is removed
// before they acknowledge the change.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil || a.claims == nil {
		return services.UnbindResult{}, err
	}
	if !a.expel(r.Binding.Name) && a.agreed {
		return services.UnbindResult{}, nil
	}
	return services.UnbindResult{}, a.push(ctx)
}

// clientEndpoints are where applications find the servers.
type clientEndpoints struct {
	servers []address
	ca      string
}

func (c *Config) clientEndpoints() (e clientEndpoints, err error) {
	if e.servers, err = addresses(cmp.Or(c.Servers, c.URL)); err != nil {
		return e, fmt.Errorf("servers: %w", err)
	}
	e.ca, err = cafile.Read(c.CA, c.CAFile)
	return e, err
}

// credentials are what a binding's application reads.
func (e clientEndpoints) credentials(token, seed string) (services.Credentials, error) {
	creds, err := jwt.FormatUserConfig(token, []byte(seed))
	if err != nil {
		return services.Credentials{}, errors.New("the user's token cannot be put into a credentials file") // err might quote it
	}
	first, servers := e.servers[0], []any{}
	var endpoints []services.Endpoint
	for _, s := range e.servers {
		servers = append(servers, s.url)
		endpoints = append(endpoints, s.Credentials(credentialType, "tcp", map[string]any{}).Endpoints...)
	}
	first.CA = e.ca
	credentials := first.Credentials(credentialType, "tcp", map[string]any{
		"uri":       urls(e.servers),
		"servers":   servers,
		"jwt":       token,
		"nkey_seed": seed,
		"creds":     string(creds),
		"tls":       first.tls || e.ca != "",
	})
	credentials.Endpoints = endpoints
	return credentials, nil
}
