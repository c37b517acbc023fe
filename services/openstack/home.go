package openstack

import (
	"context"
	"errors"
	"strings"
)

// Services restore a backup only in the project that it was made in, which is then the home of two
// instances. The restored one has a project of its own, too, which is empty: its tag names the home.
// A project whose instance was deleted stays while it is a home, or leads to what is kept in one.

// homeTag begins the tag that names a project's home.
const homeTag = "chandler-home-"

// Kept is the mark of a project whose instance was deleted, and which has or leads to backups.
const Kept = "backups of an instance that was deleted, kept by Chandler; do not change it"

// home reads the tags of an instance's project.
func home(instance string, tags []string) string {
	for _, t := range tags {
		if name, ok := strings.CutPrefix(t, homeTag); ok {
			if of, ok := safe.Instance(name); ok {
				return of
			}
		}
	}
	return instance
}

func tagsFor(instance, home string) []string {
	if instance == home {
		return []string{}
	}
	return []string{homeTag + home}
}

// AtHome reports whether the instance's resource is in its own project.
func (p Project) AtHome() bool { return p.Home == p.Instance }

// EnsureProjectAt is EnsureProject for an instance whose resource is in the project of another one,
// its home.
func (c *Cloud) EnsureProjectAt(ctx context.Context, instance, home string) (Project, error) {
	p, err := c.FindProject(ctx, instance)
	if errors.Is(err, ErrNoProject) {
		p, err = c.createProject(ctx, instance, home)
	}
	if err != nil {
		return Project{}, err
	}
	if p.Mark != newProject || p.Home != home {
		err := c.patchProject(ctx, p.ID, "mark the project", map[string]any{"description": newProject, "tags": tagsFor(instance, home)})
		if err != nil {
			return Project{}, err
		}
		p.Mark, p.Home = newProject, home
	}
	return p, c.admit(ctx, &p)
}

// FindHome returns the project that contains the resource of an instance, or ErrNoProject.
func (c *Cloud) FindHome(ctx context.Context, p Project) (Project, error) {
	if p.AtHome() {
		return p, nil
	}
	return c.FindProject(ctx, p.Home)
}

// InstanceOf returns the Instance.Name in a name made by ProjectName.
func (c *Cloud) InstanceOf(project string) (instance string, ok bool) {
	return c.names.instanceOf(project)
}
