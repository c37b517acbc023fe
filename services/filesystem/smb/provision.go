package smb

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	// A folder does not show whether the server answers.
	if err := b.server.answers(ctx); err != nil {
		return services.ProvisionResult{}, err
	}
	created, err := b.ownAccount(ctx, r.Instance.Name)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	err = b.ownShare(ctx, r.Instance, created)
	if created || err != nil { // sessions read a share that is new to them from the registry
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.samba.reload(ctx)
}

// ownShare creates the instance's folder and share, or completes them where the
// account was there before.
func (b *backend) ownShare(ctx context.Context, inst instance, created bool) error {
	return b.withAccount(ctx, inst.Name, func(t *table, a account) error {
		if err := b.folder.make(b.names.of(inst.Name), a, inst.Plan.Storage); err != nil {
			return err
		}
		var current section
		if !created { // the account goes with the share
			var err error
			if current, err = b.samba.share(ctx, b.names.of(inst.Name)); err != nil {
				return err
			}
		}
		return b.putShare(ctx, t, a, current, func(s *share) { s.connections = inst.Plan.Connections })
	})
}

// ownAccount creates the instance's account unless it exists.
func (b *backend) ownAccount(ctx context.Context, name string) (created bool, err error) {
	err = b.accounts.change(ctx, func(t *table) error {
		if _, ok := t.find(name); ok {
			return nil
		}
		created = true
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
	return created, err
}

// Update implements services.Backend. Only the plan can change. A limit that is
// measured is enforced by Reconcile, which counts again at once.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.UpdateResult{}, err
	}
	if _, err := b.folder.volumes().Limit(b.names.of(r.Instance.Name), r.Instance.Plan.Storage); err != nil {
		return services.UpdateResult{}, err
	}
	b.scans.Forget(r.Instance.Name)
	err := b.converge(ctx, r.Instance.Name, func(s *share) {
		s.connections = r.Instance.Plan.Connections
		if !r.Instance.Plan.limits().Any() {
			s.full = false
		}
	})
	if err != nil {
		return services.UpdateResult{}, err
	}
	return services.UpdateResult{}, b.samba.reload(ctx)
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
