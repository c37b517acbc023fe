package trove

import (
	"context"
	"errors"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Deprovision implements services.Backend. It empties the project, also of what others made there,
// before it deletes it: Keystone would delete it alone.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	var result services.DeprovisionResult
	p, err := b.cloud.FindProject(ctx, r.Instance.Name)
	if errors.Is(err, openstack.ErrNoProject) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	if p.Mark == openstack.Kept {
		return result, b.release(ctx, p)
	}
	at, err := b.visit(ctx, p)
	if errors.Is(err, openstack.ErrNoProject) { // its home, with everything
		return result, b.cloud.DeleteProject(ctx, p)
	}
	if err == nil && len(at.servers) > 0 {
		err = b.awaitLate(ctx, &p, true)
	}
	if err == nil {
		err = b.empty(ctx, at)
	}
	if err == nil {
		err = b.awaitLate(ctx, &p, false)
	}
	if err != nil {
		return result, err
	}
	return result, b.leave(ctx, at)
}

// leave deletes an instance's project, or keeps it for backups and other instances.
func (b *backend) leave(ctx context.Context, at place) error {
	needed, err := b.needed(ctx, at)
	if err != nil {
		return err
	}
	if !needed {
		return b.drop(ctx, at)
	}
	if err := b.cloud.SetMark(ctx, &at.project, openstack.Kept); err != nil {
		return err
	}
	return b.release(ctx, at.project) // if the last backup has just been deleted
}

func (b *backend) awaitLate(ctx context.Context, p *openstack.Project, found bool) error {
	return b.cloud.AwaitLate(ctx, p, "database server", found)
}

// empty deletes replicas, then all servers, then what they no longer use.
func (b *backend) empty(ctx context.Context, at place) error {
	var replicas, sources []server
	for _, s := range append(at.servers, at.others...) {
		if s.ReplicaOf != nil {
			replicas = append(replicas, s)
		} else {
			sources = append(sources, s)
		}
	}
	for _, group := range [][]server{replicas, sources} {
		var errs []error
		for _, s := range group {
			errs = append(errs, at.deleteServer(ctx, s))
		}
		if err := errors.Join(errs...); err != nil {
			return oneOf(errs)
		}
		if len(group) > 0 {
			return services.NotYet(poll, "the database server is being deleted")
		}
	}
	if !at.project.AtHome() {
		return nil
	}
	return b.emptyOwned(ctx, at)
}

// oneOf prefers an error to NotYet, which would hide it.
func oneOf(errs []error) error {
	var waiting error
	for _, err := range errs {
		if _, ok := errors.AsType[*services.NotYetError](err); ok {
			waiting = err
		} else if err != nil {
			return err
		}
	}
	return waiting
}

// emptyOwned deletes the backups and configuration groups that others made.
func (b *backend) emptyOwned(ctx context.Context, at place) error {
	left := false
	for _, kind := range owned() {
		ids, err := b.ownedBy(ctx, at, kind)
		if err != nil {
			return explain("list the "+kind, err)
		}
		for _, id := range ids {
			left = left || kind == "backups" // which Trove deletes in the background
			if err := at.deleteOwned(ctx, kind, id); openstack.UnlessAbsent(err) != nil {
				return explain("delete one of the "+kind, err)
			}
		}
	}
	if left {
		return services.NotYet(poll, "backups of the database are being deleted")
	}
	return nil
}

// ownedBy are the IDs of what others made at an instance's home.
func (b *backend) ownedBy(ctx context.Context, at place, kind string) ([]string, error) {
	if kind != "backups" {
		return at.ids(ctx, kind)
	}
	all, err := at.backups(ctx)
	var ids []string
	for _, found := range all {
		if _, ours := b.held(found); !ours {
			ids = append(ids, found.ID)
		}
	}
	return ids, err
}
