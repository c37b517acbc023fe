package trove

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// List implements services.Lister. A project without a server is what remains of an instance. The
// users of a restored backup are listed as those of bindings, which may have ended since.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	projects, err := b.cloud.Projects(ctx)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(sideBySide)
	parts := make([][]services.Resource, len(projects))
	for i, p := range projects {
		group.Go(func() (err error) {
			parts[i], err = b.listProject(ctx, p)
			return err
		})
	}
	err = group.Wait()
	return slices.Concat(parts...), err
}

// sideBySide is how many projects are listed at once: each of Trove's answers about users comes
// from the server itself.
const sideBySide = 8

func (b *backend) listProject(ctx context.Context, p openstack.Project) ([]services.Resource, error) {
	r := b.resource(p.Instance, "", "")
	at, err := b.visit(ctx, p)
	if errors.Is(err, openstack.ErrNoProject) && !p.AtHome() {
		r.Leftover = true
		return []services.Resource{r}, nil
	}
	if err != nil {
		if _, gone := b.cloud.FindProject(ctx, p.Instance); errors.Is(gone, openstack.ErrNoProject) { // deleted meanwhile
			return nil, nil
		}
		return nil, err
	}
	if p.Mark == openstack.Kept {
		needed, err := b.needed(ctx, at)
		if err != nil || needed {
			return nil, err
		}
	}
	r.Leftover = len(at.servers) == 0
	found := []services.Resource{r}
	for _, s := range at.servers {
		bound, err := b.listUsers(ctx, at, s)
		if err != nil {
			return nil, err
		}
		found = append(found, bound...)
	}
	return found, nil
}

// listUsers lists the users of a server that works: Trove does not know those of others.
func (b *backend) listUsers(ctx context.Context, at place, s server) ([]services.Resource, error) {
	if !s.works() {
		return nil, nil
	}
	users, err := at.users(ctx, s.ID)
	if err != nil {
		// It may have been deleted, resized or restarted meanwhile.
		if again, now := at.server(ctx, s.ID); openstack.Absent(now) || now == nil && !again.works() {
			return nil, nil
		}
		return nil, explain("list the users", err)
	}
	var found []services.Resource
	for _, u := range users {
		if o := ownerOf(u.grants(), s.ID); o.binding != "" {
			found = append(found, b.resource(at.project.Instance, o.binding, u.Name))
		}
	}
	return found, nil
}
