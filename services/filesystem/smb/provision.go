package smb

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

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
		return b.folder.make(b.names.resource(inst.Name), *a, inst.Plan.Storage)
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
	if err := b.folder.volumes().Limit(b.names.resource(r.Instance.Name), r.Instance.Plan.Storage); err != nil {
		return services.UpdateResult{}, err
	}
	if err := b.changeSnapshots(ctx, r); err != nil {
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
	return b.folder.path(b.names.resource(inst.Name)), nil
}

var _ services.DirectoryProvider[Plan, InstanceParams] = (*backend)(nil)

// emptyFor is how long one call deletes files.
const emptyFor = 10 * time.Second

// Deprovision implements services.Backend. It deletes protected contents' folder first, so that
// a refusal leaves everything as it was.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	if err := b.server.answers(ctx); err != nil {
		return services.DeprovisionResult{}, err
	}
	name := b.names.resource(r.Instance.Name)
	if err := b.folder.removeSnapshot(name); err != nil {
		return services.DeprovisionResult{}, err
	}
	snapshots := b.folder.snapshots()
	if !r.Instance.Plan.DeleteContents {
		if all, err := snapshots.List(name); err != nil {
			return services.DeprovisionResult{}, err
		} else if len(all) > 0 {
			return services.DeprovisionResult{}, services.Rejected("share %s still has snapshots, and this plan keeps them: remove them (update with remove_snapshot), and delete the instance again", name)
		}
	}
	group, err := b.folder.volumes().Group(name)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if !r.Instance.Plan.DeleteContents {
		err := b.folder.closeEmpty(name)
		if errors.Is(err, syscall.ENOTEMPTY) {
			return services.DeprovisionResult{}, services.Rejected("share %s is not empty, and this plan keeps what is in it: copy what you need, delete all files, and delete the instance again", name)
		}
		if err != nil {
			return services.DeprovisionResult{}, err
		}
	}
	if err := b.endAccess(ctx, r.Instance.Name); err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := errors.Join(snapshots.RemoveAll(name), b.folder.discard(name)); err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.folder.volumes().RemoveGroup(group); err != nil {
		return services.DeprovisionResult{}, err
	}
	b.scans.Forget(r.Instance.Name)
	if err := b.dropBindings(ctx, r.Instance.Name); err != nil {
		return services.DeprovisionResult{}, err
	}
	done, err := b.folder.empty(name, time.Now().Add(emptyFor))
	if err == nil && !done {
		return services.DeprovisionResult{}, services.NotYet(100*time.Millisecond, "deleting the share's files")
	}
	return services.DeprovisionResult{}, err
}

// endAccess removes the share and its users and ends all sessions on it. The instance's account
// goes first: without it, converge makes nothing for the instance.
func (b *backend) endAccess(ctx context.Context, instance string) error {
	var bindings []account
	var used bool
	var programs errgroup.Group
	programs.Go(func() error {
		return b.accounts.change(ctx, func(t *table) error {
			t.drop(instance)
			bindings = t.bindings(instance)
			return b.samba.dropShare(ctx, b.names.resource(instance))
		})
	})
	// Sessions end with their bindings: without bindings this only makes sure.
	programs.Go(func() (err error) { used, err = b.samba.inUse(ctx, b.names.resource(instance)); return err })
	if err := programs.Wait(); err != nil {
		return err
	}
	for _, a := range bindings {
		if a.role == closed { // by an earlier call, which ran out of time
			continue
		}
		if err := b.samba.dropUser(ctx, b.names.resource(a.name)); err != nil {
			return err
		}
		a.role = closed
		if err := b.accounts.change(ctx, func(t *table) error { t.put(a); return nil }); err != nil {
			return err
		}
	}
	return b.endSessions(ctx, b.names.resource(instance), used || len(bindings) > 0)
}

// endSessions ends the use of a removed share.
func (b *backend) endSessions(ctx context.Context, share string, used bool) error {
	if err := b.samba.reload(ctx); err != nil || !used {
		return err
	}
	if err := b.samba.control(ctx, "close-share", share); err != nil {
		return err
	}
	used, err := b.samba.inUse(ctx, share)
	if err == nil && used {
		return services.NotYet(sessionsPause, "waiting for the share's sessions to end")
	}
	return err
}

func (b *backend) dropBindings(ctx context.Context, instance string) error {
	return b.accounts.change(ctx, func(t *table) error {
		for _, a := range t.bindings(instance) {
			t.drop(a.name)
		}
		return nil
	})
}
