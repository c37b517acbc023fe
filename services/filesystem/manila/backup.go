package manila

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"
	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
	"github.com/chandler-broker/chandler/services/openstack"
)

// A backup is a snapshot of the instance's share. Manila makes shares from it only in the same
// project (openstack.Project.Home says where such a share is), and deletes no share that has
// snapshots.

var _ services.BackupHolder[Plan, InstanceParams] = (*backend)(nil)

// backupFormat is the format of snapshots, which only Manila's back end reads.
const backupFormat = "manila-1"

var idRule = naming.NewRule(`([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`)

// backupID reads the ID of a backup in a snapshot's name; ok is false of one that others made.
func (n namer) backupID(snapshot string) (id string, ok bool) {
	text, ok := strings.CutPrefix(snapshot, n.prefix)
	if !ok {
		return "", false
	}
	return idRule.Instance(text)
}

// held are the backups in a project, each with its snapshot. Those of shares that belong to no
// instance are left out.
func (b *backend) held(list []shares.Share, found []snapshots.Snapshot) map[services.HeldBackup]snapshots.Snapshot {
	owners := map[string]string{}
	for _, s := range list {
		owners[s.ID] = s.Metadata[instanceKey]
	}
	backups := map[services.HeldBackup]snapshots.Snapshot{}
	for _, f := range found {
		if id, ok := b.names.backupID(f.Name); ok && owners[f.ShareID] != "" {
			backups[services.HeldBackup{Instance: owners[f.ShareID], ID: id, Created: f.CreatedAt}] = f
		}
	}
	return backups
}

// contents are what is in a project.
func (p project) contents(ctx context.Context) ([]shares.Share, []snapshots.Snapshot, error) {
	found, err := p.snapshots(ctx)
	if err != nil {
		return nil, nil, err
	}
	list, err := p.all(ctx)
	return list, found, err
}

// snapshotsOf are the snapshots of one backup, or of all of an instance's if the ID is empty. A
// lost answer may have led to two.
func (b *backend) snapshotsOf(ctx context.Context, p project, instance, id string) ([]snapshots.Snapshot, error) {
	list, found, err := p.contents(ctx)
	var own []snapshots.Snapshot
	for h, f := range b.held(list, found) {
		if h.Instance == instance && (id == "" || h.ID == id) {
			own = append(own, f)
		}
	}
	return own, err
}

// CreateBackup implements services.BackupHolder.
func (b *backend) CreateBackup(ctx context.Context, r services.CreateBackupRequest[Plan, InstanceParams]) (services.CreateBackupResult, error) {
	result := services.CreateBackupResult{Format: backupFormat}
	p, s, err := b.share(ctx, r.Instance.Name)
	if err != nil {
		return result, err
	}
	found, err := b.snapshotsOf(ctx, p, r.Instance.Name, r.BackupID)
	if err != nil {
		return result, err
	}
	waiting := services.NotYet(pollShare, "waiting until Manila has made the snapshot")
	if len(found) == 0 {
		if err := bindable(s); err != nil {
			return result, err
		}
		if err := p.createSnapshot(ctx, s.ID, b.names.prefix+r.BackupID); err != nil {
			return result, err
		}
		return result, waiting
	}
	if i := slices.IndexFunc(found, complete); i >= 0 {
		result.Size = services.Size(found[i].ShareSize) * services.Gigabyte
		return result, nil
	}
	for _, f := range found {
		if conditions[f.Status] != failed {
			return result, waiting
		}
		if err := p.remove(ctx, f.Status, "snapshots", f.ID); err != nil {
			return result, err
		}
	}
	return result, fmt.Errorf("Manila could not make a snapshot of share %s: see its log", s.ID) //nolint:staticcheck // a name
}

func complete(f snapshots.Snapshot) bool { return conditions[f.Status] == usable }

func (p project) createSnapshot(ctx context.Context, share, name string) error {
	err := snapshots.Create(ctx, p.client, snapshots.CreateOpts{ShareID: share, Name: name, Description: "a backup, kept by Chandler"}).Err
	if openstack.Status(err) == http.StatusUnprocessableEntity {
		return fmt.Errorf("the share type has no snapshots: set its extra specs snapshot_support and create_share_from_snapshot_support, or take backups out of the plan: %w", err)
	}
	return overQuota(explain("make a snapshot of the share", err))
}

// ListBackups implements services.BackupHolder.
func (b *backend) ListBackups(ctx context.Context) ([]services.HeldBackup, error) {
	projects, err := b.cloud.Projects(ctx)
	if err != nil {
		return nil, err
	}
	var (
		mu   sync.Mutex
		list []services.HeldBackup
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listers)
	for _, in := range projects {
		if !in.AtHome() {
			continue
		}
		group.Go(func() error {
			p, err := b.enter(ctx, in)
			if openstack.Absent(err) { // deleted meanwhile
				return nil
			}
			if err != nil {
				return err
			}
			all, found, err := p.contents(ctx)
			mu.Lock()
			defer mu.Unlock()
			for h := range b.held(all, found) {
				list = append(list, h)
			}
			return err
		})
	}
	err = group.Wait()
	return list, err
}

// DeleteBackup implements services.BackupHolder.
func (b *backend) DeleteBackup(ctx context.Context, h services.HeldBackup) error {
	in, err := b.cloud.FindProject(ctx, h.Instance)
	if errors.Is(err, openstack.ErrNoProject) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := b.enter(ctx, in)
	if errors.Is(err, openstack.ErrNoProject) { // its home, with all snapshots
		return nil
	}
	if err != nil {
		return err
	}
	found, err := b.snapshotsOf(ctx, p, h.Instance, h.ID)
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := p.remove(ctx, f.Status, "snapshots", f.ID); err != nil {
			return err
		}
	}
	if len(found) > 0 {
		return services.NotYet(pollShare, "waiting until Manila has deleted the snapshot")
	}
	if in.Mark == openstack.Kept {
		return b.release(ctx, in)
	}
	return nil
}

// keep ends all access to the share of an instance that is deprovisioned: its snapshots need it.
func (b *backend) keep(ctx context.Context, p project, in openstack.Project) error {
	list, err := p.sharesOf(ctx, in.Instance)
	if err != nil {
		return err
	}
	open := false
	for _, s := range list {
		rules, err := p.rules(ctx, s.ID)
		if err != nil && !openstack.Absent(err) {
			return err
		}
		for _, r := range rules {
			open = true
			if !r.leaving() {
				if err := p.deny(ctx, s.ID, r.ID); err != nil {
					return err
				}
			}
		}
	}
	if open {
		return services.NotYet(pollRule, "waiting until Manila has withdrawn the access")
	}
	if err := b.cloud.SetMark(ctx, &in, openstack.Kept); err != nil {
		return err
	}
	return b.release(ctx, in) // if the last snapshot has just been deleted
}

// release deletes what is left of an instance that was deprovisioned, unless backups or other
// instances need it.
func (b *backend) release(ctx context.Context, in openstack.Project) error {
	p, err := b.enter(ctx, in)
	if errors.Is(err, openstack.ErrNoProject) { // its home
		return b.cloud.DeleteProject(ctx, in)
	}
	if err != nil {
		return err
	}
	own, err := b.snapshotsOf(ctx, p, in.Instance, "")
	if err != nil || len(own) > 0 {
		return err
	}
	found, err := p.empty(ctx, in)
	if err != nil {
		return err
	}
	if found {
		return services.NotYet(pollShare, "waiting until Manila has deleted the share")
	}
	return b.leave(ctx, p, in)
}

// leave deletes an instance's project, which has nothing of the instance any more, unless other
// instances are in it.
func (b *backend) leave(ctx context.Context, p project, in openstack.Project) error {
	if in.AtHome() {
		list, err := p.all(ctx)
		if err != nil {
			return err
		}
		if len(list) > 0 && in.Mark != openstack.Kept {
			return b.cloud.SetMark(ctx, &in, openstack.Kept)
		}
		if len(list) > 0 {
			return nil
		}
	} else if p.home.Mark == openstack.Kept {
		if err := b.release(ctx, p.home); err != nil {
			return err
		}
	}
	return b.cloud.DeleteProject(ctx, in)
}

// needed says whether backups or other instances need the project of an instance without a share.
func (b *backend) needed(ctx context.Context, p project, in openstack.Project) (bool, error) {
	list, found, err := p.contents(ctx)
	for h := range b.held(list, found) {
		if h.Instance == in.Instance {
			return true, err
		}
	}
	other := func(s shares.Share) bool { return s.Metadata[instanceKey] != in.Instance }
	return in.AtHome() && slices.ContainsFunc(list, other), err
}

// projectFor returns an instance's project, which leads to that of the backup it is restored from,
// with the snapshot.
func (b *backend) projectFor(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (in openstack.Project, from snapshots.Snapshot, err error) {
	if r.RestoreFrom == nil {
		in, err = b.cloud.EnsureProject(ctx, r.Instance.Name)
		return in, from, err
	}
	origin, err := b.cloud.FindProject(ctx, r.RestoreFrom.Instance)
	if err == nil {
		var p project
		if p, err = b.enter(ctx, origin); err == nil {
			from, err = b.snapshot(ctx, p, *r.RestoreFrom)
		}
	}
	if errors.Is(err, openstack.ErrNoProject) {
		return in, from, noBackup()
	}
	if err != nil {
		return in, from, err
	}
	if size(r.Instance) < from.ShareSize {
		return in, from, services.Rejected("parameters.storage: the backup is of a share of %d GB: choose %[1]dGB or more, or a larger plan", from.ShareSize)
	}
	in, err = b.cloud.EnsureProjectAt(ctx, r.Instance.Name, origin.Home)
	return in, from, err
}

func noBackup() error {
	return services.Rejected("Manila no longer has the backup; restore another one")
}

// snapshot is a backup's.
func (b *backend) snapshot(ctx context.Context, p project, h services.HeldBackup) (snapshots.Snapshot, error) {
	found, err := b.snapshotsOf(ctx, p, h.Instance, h.ID)
	if err != nil {
		return snapshots.Snapshot{}, err
	}
	i := slices.IndexFunc(found, complete)
	if i < 0 {
		return snapshots.Snapshot{}, noBackup()
	}
	return found[i], nil
}
