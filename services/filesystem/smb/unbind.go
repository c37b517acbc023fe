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

// sessionsPause is how long ending sessions have before the next look.
const sessionsPause = 100 * time.Millisecond

// revoke ends a binding: it disables logins, ends the use of the share, and removes the account.
// Until then the account identifies the sessions and records the progress: on a slow machine
// Samba's programs together take longer than one call may.
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

// closeBinding disables logins as a binding, and removes it from its share.
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

// mark gives an existing account another role.
func (b *backend) mark(ctx context.Context, a *account, r role) error {
	a.role = r
	return b.accounts.change(ctx, func(t *table) error {
		if _, ok := t.find(a.name); ok {
			t.put(*a)
		}
		return nil
	})
}
