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
	a, err := b.ownAccount(ctx, inst.Name)
	if err != nil {
		return err
	}
	if err := b.folder.make(b.names.of(inst.Name), a, inst.Plan.Storage); err != nil {
		return err
	}
	return b.settle(ctx, inst.Name, true, func(s *share) { s.connections = inst.Plan.Connections })
}

// ownAccount is the instance's account, made where it is not there.
func (b *backend) ownAccount(ctx context.Context, name string) (a account, err error) {
	err = b.accounts.change(ctx, func(t *table) error {
		var ok bool
		if a, ok = t.find(name); ok {
			return nil
		}
		if err := t.taken(name); err != nil {
			return err
		}
		id, err := b.accounts.next(t)
		if err != nil {
			return err
		}
		a = account{name: name, instance: name, role: owner, uid: id, gid: id}
		t.put(a)
		return nil
	})
	return a, err
}

// Update implements services.Backend. Only the plan can change. A limit that is
// measured is enforced by Keep, which is told to look at once.
func (b *backend) Update(ctx context.Context, _, next instance) error {
	if err := b.server.answers(ctx); err != nil {
		return err
	}
	if _, err := b.folder.volumes().Limit(b.names.of(next.Name), next.Plan.Storage); err != nil {
		return err
	}
	b.forget(next.Name)
	return b.settle(ctx, next.Name, false, func(s *share) {
		s.connections = next.Plan.Connections
		if next.Plan.Storage == 0 && next.Plan.Files == 0 {
			s.full = false
		}
	})
}

// Folder implements services.Sharer.
func (b *backend) Folder(_ context.Context, inst instance) (string, error) {
	t, err := b.accounts.read()
	if err != nil {
		return "", err
	}
	if _, ok := t.find(inst.Name); !ok {
		return "", errAbsent
	}
	return b.folder.path(b.names.of(inst.Name)), nil
}

var _ services.Sharer[Plan, InstanceParams] = (*backend)(nil)
