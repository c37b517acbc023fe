package smb

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.BindResult{}, err
	}
	wanted := writer
	if r.Binding.Params.ReadOnly {
		wanted = reader
	}
	if err := b.clearName(ctx, r.Binding.Name, wanted); err != nil {
		return services.BindResult{}, err
	}
	if err := b.bindingAccount(ctx, r.Instance, r.Binding.Name, wanted); err != nil {
		return services.BindResult{}, err
	}
	password, user := r.Binding.Seed.Password("smb"), b.names.of(r.Binding.Name)
	err := together(
		func() error { return b.samba.putUser(ctx, user, password) },
		func() error {
			return b.converge(ctx, r.Instance.Name, func(s *share) { s.connections = r.Instance.Plan.Connections })
		},
	)
	if err != nil {
		return services.BindResult{}, err
	}
	// The client may already have a connection, on which it opens a session as this user.
	if err := b.samba.reload(ctx); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.public.credentials(b.names.of(r.Instance.Name), user, password, r.Binding.Params)}, nil
}

// clearName revokes what an earlier attempt under the same identifiers left with another
// role or half revoked: that is another credential.
func (b *backend) clearName(ctx context.Context, name string, wanted role) error {
	t, err := b.accounts.read()
	if err != nil {
		return err
	}
	if a, ok := t.find(name); ok && a.role != wanted {
		return b.revoke(ctx, a)
	}
	return nil
}

// bindingAccount makes a binding's account if it does not exist.
func (b *backend) bindingAccount(ctx context.Context, inst instance, name string, wanted role) error {
	return b.accounts.change(ctx, func(t *table) error {
		of, ok := t.find(inst.Name)
		if !ok {
			return errAbsent
		}
		if _, ok := t.find(name); ok {
			return nil
		}
		if others := len(t.bindings(inst.Name)); others >= inst.Plan.Bindings {
			return services.Rejected("this instance has %d bindings, and its plan allows %d: remove one, or choose a larger plan", others, inst.Plan.Bindings)
		}
		if err := t.taken(name); err != nil {
			return err
		}
		id, err := b.accounts.next(t)
		if err != nil {
			return err
		}
		t.put(account{name: name, instance: inst.Name, role: wanted, uid: id, gid: of.gid})
		return nil
	})
}
