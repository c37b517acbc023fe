package manila

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Provision implements services.Backend.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	in, from, err := b.projectFor(ctx, r)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	p, err := b.enter(ctx, in)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	found, err := p.sharesOf(ctx, r.Instance.Name)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	if len(found) == 0 {
		if err := p.create(ctx, in.Name, r.Instance, from.ID); err != nil {
			if openstack.Refused(err) { // so that Deprovision does not wait for it
				err = errors.Join(err, b.cloud.SetMark(ctx, &in, openstack.Emptied))
			}
			return services.ProvisionResult{}, err
		}
		return services.ProvisionResult{}, services.NotYet(pollShare, "waiting until Manila has created the share")
	}
	// Deprovision keeps the share of an instance with backups, also of one that is to be restored
	// from its own: its files are not the backup's.
	if slices.ContainsFunc(found, func(s shares.Share) bool { return r.RestoreFrom != nil && s.SnapshotID != from.ID }) {
		return services.ProvisionResult{}, services.Rejected("Manila keeps the share of an instance that has backups; restore the backup to a new instance")
	}
	return services.ProvisionResult{}, p.created(ctx, found)
}

// created is nil if there is one share, and it is usable.
func (p project) created(ctx context.Context, found []shares.Share) error {
	kept := chosen(found)
	if len(found) > 1 { // the answer to a request to create one was lost
		for _, s := range found {
			if c := conditions[s.Status]; s.ID != kept.ID && (c == usable || c == failed) {
				if err := p.delete(ctx, s.ID); err != nil {
					return err
				}
			}
		}
		return services.NotYet(pollShare, "waiting until Manila has deleted a second share")
	}
	switch conditions[kept.Status] {
	case usable, refused:
		return nil
	case changing:
		return services.NotYet(pollShare, "waiting until Manila has created the share")
	case leaving:
		return services.NotYet(pollShare, "waiting until Manila has deleted a share that it could not create")
	case failed:
		reason := p.failure(ctx, kept.ID)
		if err := p.delete(ctx, kept.ID); err != nil {
			return err
		}
		return reason // the next attempt makes another one
	case broken:
	}
	return brokenShare(kept)
}

// chosen returns an instance's share of several: the oldest usable one, or else the oldest that may
// become usable. Every call chooses the same one.
func chosen(found []shares.Share) shares.Share {
	for _, wanted := range []condition{usable, refused, changing} {
		if i := slices.IndexFunc(found, func(s shares.Share) bool { return conditions[s.Status] == wanted }); i >= 0 {
			return found[i]
		}
	}
	return found[0]
}

var errNoShare = errors.New("the instance's share does not exist: somebody deleted it, with all files; deprovision the instance")

// share returns an instance's share, and Manila in its project.
func (b *backend) share(ctx context.Context, instance string) (project, shares.Share, error) {
	in, err := b.cloud.FindProject(ctx, instance)
	if err == nil && in.Mark == openstack.Kept {
		err = errNoShare
	}
	if err != nil {
		return project{}, shares.Share{}, err
	}
	p, err := b.enter(ctx, in)
	if err != nil {
		return p, shares.Share{}, err
	}
	found, err := p.sharesOf(ctx, instance)
	if err != nil {
		return p, shares.Share{}, err
	}
	if len(found) == 0 {
		return p, shares.Share{}, errNoShare
	}
	return p, chosen(found), nil
}

// absent reports whether an instance has no project or share.
func absent(err error) bool {
	return errors.Is(err, errNoShare) || errors.Is(err, openstack.ErrNoProject)
}

// Deprovision implements services.Backend. It empties the project, also of what others made there.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	in, err := b.cloud.FindProject(ctx, r.Instance.Name)
	if errors.Is(err, openstack.ErrNoProject) {
		return services.DeprovisionResult{}, nil
	}
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if in.Mark == openstack.Kept {
		return services.DeprovisionResult{}, b.release(ctx, in)
	}
	p, err := b.enter(ctx, in)
	if errors.Is(err, openstack.ErrNoProject) { // its home, with everything
		return services.DeprovisionResult{}, b.cloud.DeleteProject(ctx, in)
	}
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	backups, err := b.snapshotsOf(ctx, p, in.Instance, "")
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if len(backups) > 0 {
		return services.DeprovisionResult{}, b.keep(ctx, p, in)
	}
	found, err := p.empty(ctx, in)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.cloud.AwaitLate(ctx, &in, "share", found); err != nil {
		return services.DeprovisionResult{}, err
	}
	if found {
		return services.DeprovisionResult{}, services.NotYet(pollShare, "waiting until Manila has deleted the share")
	}
	return services.DeprovisionResult{}, b.leave(ctx, p, in)
}

// empty deletes an instance's shares with their snapshots, and at its home also what others made
// there by hand. It reports whether there is anything. Manila refuses to delete a share with snapshots, and first ends all access to one that it deletes.
func (p project) empty(ctx context.Context, in openstack.Project) (found bool, err error) {
	list, held, err := p.contents(ctx)
	if err != nil {
		return false, err
	}
	own := map[string]bool{}
	list = slices.DeleteFunc(list, func(s shares.Share) bool {
		owner := s.Metadata[instanceKey]
		own[s.ID] = owner == in.Instance || owner == "" && in.AtHome()
		return !own[s.ID]
	})
	held = slices.DeleteFunc(held, func(s snapshots.Snapshot) bool { return !own[s.ShareID] })
	for _, s := range held {
		if err := p.remove(ctx, s.Status, "snapshots", s.ID); err != nil {
			return true, err
		}
	}
	if len(held) > 0 {
		return true, nil
	}
	for _, s := range list {
		if err := p.remove(ctx, s.Status, "shares", s.ID); err != nil {
			return true, err
		}
	}
	return len(list) > 0, nil
}

// remove deletes a share or snapshot whose status allows that.
func (p project) remove(ctx context.Context, status, kind, id string) error {
	switch conditions[status] {
	case changing, leaving:
		return nil
	case broken, refused:
		return fmt.Errorf("%s/%s of the instance's project has the status %s, in which Manila deletes nothing: find the reason in its log, and then set the status to error or force the deletion", kind, id, status)
	case usable, failed:
	}
	err := openstack.Call(ctx, p.client, http.MethodDelete, p.client.ServiceURL(kind, id), nil, nil)
	return explain("delete "+kind+"/"+id, openstack.UnlessAbsent(err))
}
