package smb

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.UnbindResult{}, err
	}
	t, err := b.accounts.read()
	if err != nil {
		return services.UnbindResult{}, err
	}
	a, ok := t.find(r.Binding.Name)
	if !ok {
		return services.UnbindResult{}, nil
	}
	return services.UnbindResult{}, b.revoke(ctx, a)
}

// sessionsPause is how long sessions that were told to end are left alone.
const sessionsPause = 100 * time.Millisecond

// revoke ends a binding: nobody can log in any more, then nobody who has logged
// in can use the share any more, then the account goes. As long as that stands
// it tells whose the sessions are, and how far the revocation has come: on a slow
// machine Samba's programs take longer together than one call has.
func (b *backend) revoke(ctx context.Context, a account) error {
	if a.role != closed {
		if err := b.closeBinding(ctx, &a); err != nil {
			return err
		}
	}
	name := b.names.of(a.instance)
	if err := b.samba.closeDenied(ctx, name); err != nil {
		return err
	}
	uses, err := b.samba.uses(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(uses, use{share: name, uid: a.uid}) {
		return services.NotYet(sessionsPause, "waiting for the binding's sessions to end")
	}
	return b.accounts.change(ctx, func(t *table) error { t.drop(a.name); return nil })
}

// closeBinding keeps everybody from logging in as a binding, and takes it off its
// share.
func (b *backend) closeBinding(ctx context.Context, a *account) error {
	if err := b.mark(ctx, a, gone); err != nil {
		return err
	}
	err := together(
		func() error { return b.samba.dropUser(ctx, b.names.of(a.name)) },
		func() error {
			if err := b.converge(ctx, a.instance, nil); !errors.Is(err, errAbsent) {
				return err
			}
			return nil
		},
	)
	if err != nil {
		return err
	}
	return b.mark(ctx, a, closed)
}

// mark gives an account that is there another role.
func (b *backend) mark(ctx context.Context, a *account, r role) error {
	a.role = r
	return b.accounts.change(ctx, func(t *table) error {
		if _, ok := t.find(a.name); ok {
			t.put(*a)
		}
		return nil
	})
}
