package nats

import (
	"context"
	"errors"

	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend. The binding is a signing key of the account,
// with the binding's rights; its one user is signed by that key.
func (b *backend) Bind(ctx context.Context, inst instance, bd binding) (services.Credentials, error) {
	k, err := deriveBinding(bd.Seed)
	if err != nil {
		return services.Credentials{}, err
	}
	a, err := b.account(ctx, inst.Name)
	if err != nil {
		return services.Credentials{}, err
	}
	if !a.usable() {
		return services.Credentials{}, errors.New("the instance's account is not there or not finished; provision the instance again")
	}
	since, changed := a.admit(bd.Name, k.signerPublic, permissions(bd.Params))
	if changed || !a.agreed {
		if err := a.push(ctx); err != nil {
			return services.Credentials{}, err
		}
	}
	token, err := userToken(a.public, bd.Name, since, k)
	if err != nil {
		return services.Credentials{}, err
	}
	return b.told.credentials(token, k.seed)
}

// Verify implements services.Verifier. A binding's holder cannot break its
// credentials; this gives the binding the permissions that its parameters stand
// for, of which earlier versions gave more.
func (b *backend) Verify(ctx context.Context, inst instance, bd binding) error {
	k, err := deriveBinding(bd.Seed)
	if err != nil {
		return err
	}
	a, err := b.account(ctx, inst.Name)
	if err != nil || !a.usable() || a.scope(bd.Name) == nil {
		return err
	}
	if _, changed := a.admit(bd.Name, k.signerPublic, permissions(bd.Params)); !changed && a.agreed {
		return nil
	}
	return a.push(ctx)
}

// Unbind implements services.Backend. Without the key that signed him the user is
// nobody, and the servers cut his connections before they say that they know.
func (b *backend) Unbind(ctx context.Context, inst instance, bd binding) error {
	a, err := b.account(ctx, inst.Name)
	if err != nil || a.claims == nil {
		return err
	}
	if !a.expel(bd.Name) && a.agreed {
		return nil
	}
	return a.push(ctx)
}
