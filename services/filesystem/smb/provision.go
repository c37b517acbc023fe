package smb

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend.
func (b *backend) Provision(ctx context.Context, inst instance) error {
	// A folder that is there tells nothing of whether the server is.
	if err := b.server.answers(ctx); err != nil {
		return err
	}
	if err := b.ownAccount(ctx, inst.Name); err != nil {
		return err
	}
	folder := func(a account) error { return b.folder.make(b.names.of(inst.Name), a, inst.Plan.Storage) }
	return b.settle(ctx, inst.Name, folder, func(s *share) { s.connections = inst.Plan.Connections })
}

// ownAccount makes the instance's account where it is not there.
func (b *backend) ownAccount(ctx context.Context, name string) error {
	return b.accounts.change(ctx, func(t *table) error {
		if _, ok := t.find(name); ok {
			return nil
		}
		if err := t.taken(name); err != nil {
			return err
		}
		id, err := b.accounts.next(t)
		if err != nil {
			return err
		}
		t.put(account{name: name, instance: name, role: owner, uid: id, gid: id})
		return nil
	})
}

// Update implements services.Backend. Only the plan can change. A limit that is
// measured is enforced by Reconcile, which is told to look at once.
func (b *backend) Update(ctx context.Context, _, next instance) error {
	if err := b.server.answers(ctx); err != nil {
		return err
	}
	if _, err := b.folder.volumes().Limit(b.names.of(next.Name), next.Plan.Storage); err != nil {
		return err
	}
	b.forget(next.Name)
	return b.settle(ctx, next.Name, nil, func(s *share) {
		s.connections = next.Plan.Connections
		if next.Plan.Storage == 0 && next.Plan.Files == 0 {
			s.full = false
		}
	})
}

// Directory implements services.DirectoryProvider.
func (b *backend) Directory(_ context.Context, inst instance) (string, error) {
	t, err := b.accounts.read()
	if err != nil {
		return "", err
	}
	if _, ok := t.find(inst.Name); !ok {
		return "", errAbsent
	}
	return b.folder.path(b.names.of(inst.Name)), nil
}

var _ services.DirectoryProvider[Plan, InstanceParams] = (*backend)(nil)
