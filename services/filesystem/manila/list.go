package manila

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error { return b.cloud.Ready(ctx) }

// listers is how many projects List visits at a time.
const listers = 8

// List implements services.Lister. Only a project's members see its shares, so it enters every
// project.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	projects, err := b.cloud.Projects(ctx)
	if err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex
		found []services.Resource
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(listers)
	for _, p := range projects {
		group.Go(func() error {
			resources, err := b.resources(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, resources...)
			return err
		})
	}
	err = group.Wait()
	return found, err
}

// resources are those in a project.
func (b *backend) resources(ctx context.Context, in openstack.Project) ([]services.Resource, error) {
	lost := []services.Resource{{Instance: in.Instance, Name: in.Name, Leftover: true}}
	p, err := b.enter(ctx, in)
	if errors.Is(err, openstack.ErrNoProject) && !in.AtHome() {
		return lost, nil
	}
	if openstack.Absent(err) { // it was deleted meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if in.Mark == openstack.Kept {
		if needed, err := b.needed(ctx, p, in); err != nil || needed {
			return nil, err
		}
		return lost, nil
	}
	list, err := p.sharesOf(ctx, in.Instance)
	if err != nil {
		return nil, err
	}
	// Without its share, an instance is lost.
	found := []services.Resource{{Instance: in.Instance, Name: in.Name, Leftover: len(list) == 0}}
	for _, s := range list {
		rules, err := p.rules(ctx, s.ID)
		if err != nil && !openstack.Absent(err) {
			return nil, err
		}
		for _, r := range rules {
			for _, binding := range b.names.bindings(r) {
				found = append(found, services.Resource{Instance: in.Instance, Binding: binding, Name: "access of " + r.AccessTo + " to share " + s.ID})
			}
		}
	}
	return found, nil
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.cloud.ProjectName(inst.Name) }

var (
	_ services.Readier                     = (*backend)(nil)
	_ services.Lister                      = (*backend)(nil)
	_ services.Namer[Plan, InstanceParams] = (*backend)(nil)
)
