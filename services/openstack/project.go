package openstack

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// Project is an instance's project.
type Project struct {
	ID, Name string
	// Instance is the Instance.Name.
	Instance string
	// Mark is the project's description: what SetMark wrote, or newProject.
	Mark string
	// Home is the Instance.Name of the instance whose project contains the resource: its own,
	// unless it was restored from another one's backup.
	Home    string
	enabled bool
}

// newProject is the mark of a project that is in use.
const newProject = "an instance, made by Chandler; do not change it"

// ErrNoProject says that an instance has no project.
var ErrNoProject = errors.New("the instance's project does not exist: provision the instance again, or deprovision it if somebody deleted the project")

// ProjectName is the name of an instance's project.
func (c *Cloud) ProjectName(instance string) string { return c.names.project(instance) }

// FindProject returns an instance's project, or ErrNoProject.
func (c *Cloud) FindProject(ctx context.Context, instance string) (Project, error) {
	found, err := c.find(ctx, "projects", url.Values{"name": {c.names.project(instance)}})
	if err != nil {
		return Project{}, Explain("look up the project", err)
	}
	for _, e := range found {
		if e.Name == c.names.project(instance) {
			return e.project(instance), nil
		}
	}
	return Project{}, ErrNoProject
}

// EnsureProject returns an instance's project, in which the broker's account is a member. It makes
// or enables it if necessary.
func (c *Cloud) EnsureProject(ctx context.Context, instance string) (Project, error) {
	return c.EnsureProjectAt(ctx, instance, instance)
}

// project is the one of an instance.
func (e entity) project(instance string) Project {
	return Project{e.ID, e.Name, instance, e.Description, home(instance, e.Tags), e.Enabled}
}

// SetMark writes a project's mark, by which a backend remembers how far its deprovision is.
// EnsureProject resets it.
func (c *Cloud) SetMark(ctx context.Context, p *Project, mark string) error {
	p.Mark = mark
	return c.patchProject(ctx, p.ID, "mark the project", map[string]any{"description": mark})
}

func (c *Cloud) patchProject(ctx context.Context, id, doing string, changes map[string]any) error {
	keystone, err := c.domain.keystone(ctx)
	if err == nil {
		err = Call(ctx, keystone, http.MethodPatch, keystone.ServiceURL("projects", id), object("project", changes), nil)
	}
	return Explain(doing, err)
}

func (c *Cloud) createProject(ctx context.Context, instance, home string) (Project, error) {
	keystone, err := c.domain.keystone(ctx)
	if err != nil {
		return Project{}, Explain("create the project", err)
	}
	_, domain, err := c.domain.identities(ctx)
	if err != nil {
		return Project{}, Explain("create the project", err)
	}
	request := map[string]any{"name": c.names.project(instance), "domain_id": domain, "description": newProject}
	if home != instance {
		request["tags"] = tagsFor(instance, home)
	}
	var answer struct{ Project entity }
	err = Call(ctx, keystone, http.MethodPost, keystone.ServiceURL("projects"), object("project", request), &answer)
	if Conflict(err) { // another call was faster
		return c.FindProject(ctx, instance)
	}
	answer.Project.Enabled = true
	return answer.Project.project(instance), Explain("create the project", err)
}

// admit makes the broker's account a member of the project, and enables a project that somebody
// disabled.
func (c *Cloud) admit(ctx context.Context, p *Project) error {
	user, _, err := c.domain.identities(ctx)
	if err != nil {
		return Explain("enter the project", err)
	}
	if !p.enabled {
		if err := c.patchProject(ctx, p.ID, "enable the project", map[string]any{"enabled": true}); err != nil {
			return err
		}
		p.enabled = true
	}
	return c.grant(ctx, p.ID, user)
}

// grant makes a user a member of a project. Keystone's grants are idempotent.
func (c *Cloud) grant(ctx context.Context, project, user string) error {
	role, err := c.memberRole(ctx)
	if err != nil {
		return err
	}
	keystone, err := c.domain.keystone(ctx)
	if err == nil {
		err = Call(ctx, keystone, http.MethodPut, keystone.ServiceURL("projects", project, "users", user, "roles", role), nil, nil)
	}
	return Explain("grant the role "+c.config.MemberRole+" in the project", err)
}

// Client returns a client of the service that acts as a member of the project. If the account has
// lost its membership, or the project was disabled, Client restores both.
func (c *Cloud) Client(ctx context.Context, p Project) (*gophercloud.ServiceClient, error) {
	s, ok := c.projects.Get(p.ID)
	if !ok {
		s = c.newSession(c.broker(gophercloud.AuthScope{ProjectID: p.ID}), true)
		c.projects.Add(p.ID, s)
	}
	err := s.ensure(ctx)
	if status := Status(err); status == http.StatusUnauthorized || status == http.StatusForbidden {
		if p, err = c.FindProject(ctx, p.Instance); err != nil {
			return nil, err
		}
		if err := c.admit(ctx, &p); err != nil {
			return nil, err
		}
		err = s.ensure(ctx)
	}
	if err != nil {
		return nil, Explain("enter the project", err)
	}
	return s.service(p.ID)
}

// service returns a client of the service with the session's token.
func (s *session) service(project string) (*gophercloud.ServiceClient, error) {
	endpoint, err := s.cloud.endpoint(s, project)
	if err != nil {
		return nil, err
	}
	return &gophercloud.ServiceClient{ProviderClient: s.provider, Endpoint: endpoint, Type: s.cloud.service.Types[0]}, nil
}

// DeleteProject deletes an instance's project, and first the users of its bindings. The caller has
// emptied it: Keystone deletes a project with everything in it still there.
func (c *Cloud) DeleteProject(ctx context.Context, p Project) error {
	if err := c.DeleteUsers(ctx, p.Instance); err != nil {
		return err
	}
	err := c.remove(ctx, "projects", p.ID, p.Name)
	c.projects.Remove(p.ID)
	return Explain("delete the project", err)
}

// remove deletes a project or user. Keystone answers 403 about one that does not exist, because it
// is not in the broker's domain.
func (c *Cloud) remove(ctx context.Context, key, id, name string) error {
	keystone, err := c.domain.keystone(ctx)
	if err != nil {
		return err
	}
	err = Call(ctx, keystone, http.MethodDelete, keystone.ServiceURL(key, id), nil, nil)
	if Status(err) != http.StatusForbidden {
		return UnlessAbsent(err)
	}
	found, lookup := c.find(ctx, key, url.Values{"name": {name}})
	if lookup != nil || slices.ContainsFunc(found, func(e entity) bool { return e.ID == id }) {
		return errors.Join(err, lookup)
	}
	return nil
}

// Projects returns the projects of all instances.
func (c *Cloud) Projects(ctx context.Context) ([]Project, error) {
	found, err := c.listed(ctx, "projects", c.names.prefix)
	if err != nil {
		return nil, Explain("list the projects", err)
	}
	var projects []Project
	for _, e := range found {
		if instance, ok := c.names.instanceOf(e.Name); ok {
			projects = append(projects, e.project(instance))
		}
	}
	return projects, nil
}

// endpoint returns the URL of the service for a project, with a slash at its end.
func (c *Cloud) endpoint(s *session, project string) (string, error) {
	url := strings.ReplaceAll(c.config.Endpoint, "%(project_id)s", project)
	if url == "" {
		result, err := s.result()
		if err != nil {
			return "", err
		}
		found, err := c.inCatalog(result, c.config.Interface)
		if err != nil {
			return "", err
		}
		url = found.url
	}
	return trimSlash(url) + "/", nil
}

func object(key string, value map[string]any) map[string]any { return map[string]any{key: value} }
