package nats

import (
	"context"
	"errors"

	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend. The binding is a signing key of the account, with the
// binding's rights; that key signs the binding's one user.
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

// Verify implements services.Verifier. A binding's holder cannot break its credentials;
// Verify limits the binding to the permissions of its parameters, because earlier
// versions granted more.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	k, err := deriveBinding(r.Binding.Seed)
	if err != nil {
		return services.VerifyResult{}, err
	}
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil || !a.usable() || a.scope(r.Binding.Name) == nil {
		return services.VerifyResult{}, err
	}
	if _, changed := a.admit(r.Binding.Name, k.signerPublic, permissions(r.Binding.Params)); !changed && a.agreed {
		return services.VerifyResult{}, nil
	}
	return services.VerifyResult{}, a.push(ctx)
}

// Unbind implements services.Backend. Without the key that signed its user, a binding is
// revoked. The servers close its connections before they acknowledge the change.
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
