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
	err = b.ownShare(ctx, r.Instance)
	if created || err != nil { // sessions read a share that is new to them from the registry
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.samba.reload(ctx)
}

// ownShare makes the instance's folder and share, or completes them.
func (b *backend) ownShare(ctx context.Context, inst instance) error {
	return b.converge(ctx, inst, func(_ *table, a *account) error {
		return b.folder.make(b.names.of(inst.Name), *a, inst.Plan.Storage)
	})
}

// ownAccount makes the instance's account unless it exists.
func (b *backend) ownAccount(ctx context.Context, name string) (created bool, err error) {
	err = b.accounts.change(ctx, func(t *table) error {
		if _, ok := t.find(name); ok {
			return nil
		}
		created = true
		return b.accounts.create(t, account{name: name, instance: name, role: owner})
	})
	return created, err
}

// Update implements services.Backend. Reconcile enforces a limit that is measured.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.UpdateResult{}, err
	}
	if err := b.folder.volumes().Limit(b.names.of(r.Instance.Name), r.Instance.Plan.Storage); err != nil {
		return services.UpdateResult{}, err
	}
	b.scans.Forget(r.Instance.Name)
	err := b.converge(ctx, r.Instance, func(_ *table, a *account) error {
		a.overQuota = a.overQuota && r.Instance.Plan.limits().Any()
		return nil
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
