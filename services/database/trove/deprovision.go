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
	at, err := b.visit(ctx, p)
	if err == nil && len(at.servers) > 0 {
		err = b.awaitLate(ctx, &p, true)
	}
	if err == nil {
		err = at.empty(ctx)
	}
	if err == nil {
		err = b.awaitLate(ctx, &p, false)
	}
	if err != nil {
		return result, err
	}
	return result, b.cloud.DeleteProject(ctx, p)
}

func (b *backend) awaitLate(ctx context.Context, p *openstack.Project, found bool) error {
	return b.cloud.AwaitLate(ctx, p, "database server", found)
}

// empty deletes replicas, then all servers, then what they no longer use.
func (at place) empty(ctx context.Context) error {
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
	return at.emptyOwned(ctx)
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

func (at place) emptyOwned(ctx context.Context) error {
	left := false
	for _, kind := range owned() {
		ids, err := at.ids(ctx, kind)
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
