package openstack

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"

	"github.com/chandler-broker/chandler/services"
)

// Credential is the application credential of a binding.
type Credential struct {
	ID, Name, UserID string
	// Client is a client of the service that acts as the binding's user, without the
	// credential's access rules.
	Client *gophercloud.ServiceClient
}

// AccessRule allows requests of the service to holders of an application credential. In Path, "*"
// stands for one segment, and "**" for any.
type AccessRule = applicationcredentials.AccessRule

// maxPath is the maximum length of an access rule's path.
const maxPath = 128

// Rule is an access rule for the Cloud's service. It panics if the path is too long for Keystone.
func (c *Cloud) Rule(method, path string) AccessRule {
	if len(path) > maxPath {
		panic("access rule: path is too long: " + path)
	}
	return AccessRule{Method: method, Path: path, Service: c.service.Types[0]}
}

// UserName is the name of a binding's user.
func (c *Cloud) UserName(instance, binding string) string { return c.names.user(instance, binding) }

// ensureUser makes a user for a binding who is a member of the project only, and returns their
// session in it and their ID.
func (c *Cloud) ensureUser(ctx context.Context, p Project, binding string, password services.Secret) (*session, string, error) {
	name := c.names.user(p.Instance, binding)
	id, existed, err := c.createUser(ctx, name, password)
	if err != nil {
		return nil, "", err
	}
	if err := c.grant(ctx, p.ID, id); err != nil {
		return nil, "", err
	}
	s := c.newSession(gophercloud.AuthOptions{UserID: id, Password: password.Reveal(), Scope: &gophercloud.AuthScope{ProjectID: p.ID}}, false)
	err = s.ensure(ctx)
	if Status(err) == http.StatusUnauthorized && existed { // somebody changed the password or disabled the user
		if err = c.resetUser(ctx, id, password); err != nil {
			return nil, "", err
		}
		err = s.ensure(ctx)
	}
	return s, id, Explain("authenticate as the binding's user", err)
}

func (c *Cloud) createUser(ctx context.Context, name string, password services.Secret) (id string, existed bool, err error) {
	keystone, err := c.domain.keystone(ctx)
	if err != nil {
		return "", false, Explain("create the user", err)
	}
	_, domain, err := c.domain.identities(ctx)
	if err != nil {
		return "", false, Explain("create the user", err)
	}
	var answer struct{ User entity }
	err = Call(ctx, keystone, http.MethodPost, keystone.ServiceURL("users"), object("user", map[string]any{
		"name": name, "domain_id": domain, "password": password.Reveal(), "description": "a binding, made by Chandler; do not change it",
		"options": map[string]any{"ignore_password_expiry": true, "ignore_change_password_upon_first_use": true, "lock_password": true},
	}), &answer)
	if Conflict(err) {
		id, err := c.findUser(ctx, name)
		return id, true, err
	}
	return answer.User.ID, false, Explain("create the user", err)
}

// findUser returns the ID of a user, or an empty one.
func (c *Cloud) findUser(ctx context.Context, name string) (string, error) {
	found, err := c.find(ctx, "users", url.Values{"name": {name}})
	if err != nil {
		return "", Explain("look up the user", err)
	}
	for _, e := range found {
		if e.Name == name {
			return e.ID, nil
		}
	}
	return "", nil
}

func (c *Cloud) resetUser(ctx context.Context, id string, password services.Secret) error {
	keystone, err := c.domain.keystone(ctx)
	if err == nil {
		err = Call(ctx, keystone, http.MethodPatch, keystone.ServiceURL("users", id), object("user", map[string]any{"password": password.Reveal(), "enabled": true}), nil)
	}
	return Explain("set the user's password", err)
}

// EnsureCredential makes a user for a binding who is a member of the project only, and their
// application credential with these access rules. Both secrets derive from the binding's seed. The
// rules may depend on what rules finds out with a client that acts as the user; a repeated call
// keeps a credential that has exactly these rules, and replaces others.
func (c *Cloud) EnsureCredential(ctx context.Context, p Project, binding string, seed *services.Seed, rules func(*gophercloud.ServiceClient) ([]AccessRule, error)) (Credential, error) {
	s, user, err := c.ensureUser(ctx, p, binding, seed.Password("keystone user"))
	if err != nil {
		return Credential{}, err
	}
	client, err := s.service(p.ID)
	if err != nil {
		return Credential{}, err
	}
	wanted, err := rules(client)
	if err != nil {
		return Credential{}, err
	}
	a := application{keystone: c.identity(s.provider), user: user, name: binding, rules: wanted, secret: seed.Password(credentialLabel)}
	id, err := a.ensure(ctx)
	return Credential{ID: id, Name: binding, UserID: user, Client: client}, Explain("create the application credential", err)
}

const credentialLabel = "application credential"

// application is an application credential that should exist.
type application struct {
	keystone   *gophercloud.ServiceClient
	user, name string
	rules      []AccessRule
	secret     services.Secret
}

func (a application) ensure(ctx context.Context) (id string, err error) {
	created, err := a.create(ctx)
	if !Conflict(err) {
		return created, err
	}
	pages, err := applicationcredentials.List(a.keystone, a.user, applicationcredentials.ListOpts{Name: a.name}).AllPages(ctx)
	if err != nil {
		return "", err
	}
	found, err := applicationcredentials.ExtractApplicationCredentials(pages)
	if err != nil {
		return "", err
	}
	for _, f := range found {
		if f.Name == a.name && sameRules(f.AccessRules, a.rules) {
			return f.ID, nil
		}
		if err := applicationcredentials.Delete(ctx, a.keystone, a.user, f.ID).ExtractErr(); UnlessAbsent(err) != nil {
			return "", err
		}
	}
	return a.create(ctx)
}

func (a application) create(ctx context.Context) (id string, err error) {
	created, err := applicationcredentials.Create(ctx, a.keystone, a.user, applicationcredentials.CreateOpts{
		Name: a.name, Description: "made by Chandler", Secret: a.secret.Reveal(), AccessRules: a.rules,
	}).Extract()
	if err != nil {
		return "", err
	}
	return created.ID, nil
}

func sameRules(a, b []AccessRule) bool {
	keys := func(rules []AccessRule) []string {
		var all []string
		for _, r := range rules {
			all = append(all, r.Service+" "+r.Method+" "+r.Path)
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	return slices.Equal(keys(a), keys(b))
}

// CheckCredential returns nil if a binding's application credential works: Status is 404 or 401 if
// it does not exist or was revoked.
func (c *Cloud) CheckCredential(ctx context.Context, p Project, binding string, seed *services.Seed) error {
	options := gophercloud.AuthOptions{
		Username: c.names.user(p.Instance, binding), DomainName: c.config.Domain,
		ApplicationCredentialName: binding, ApplicationCredentialSecret: seed.Password(credentialLabel).Reveal(),
	}
	_, err := c.newToken(ctx, options)
	return err
}

// DeleteUser deletes a binding's user with their credential and tokens.
func (c *Cloud) DeleteUser(ctx context.Context, instance, binding string) error {
	name := c.names.user(instance, binding)
	id, err := c.findUser(ctx, name)
	if err != nil || id == "" {
		return err
	}
	return Explain("delete the user", c.remove(ctx, "users", id, name))
}

// DeleteUsers deletes the users of all bindings of an instance.
func (c *Cloud) DeleteUsers(ctx context.Context, instance string) error {
	found, err := c.listed(ctx, "users", c.names.users(instance))
	if err != nil {
		return Explain("list the users", err)
	}
	for _, e := range found {
		if owner, _, ok := c.names.bindingOf(e.Name); ok && owner == instance {
			if err := c.remove(ctx, "users", e.ID, e.Name); err != nil {
				return Explain("delete the user", err)
			}
		}
	}
	return nil
}

// List returns what exists of all instances and bindings.
func (c *Cloud) List(ctx context.Context) ([]services.Resource, error) {
	projects, err := c.Projects(ctx)
	if err != nil {
		return nil, err
	}
	users, err := c.listed(ctx, "users", c.names.prefix)
	if err != nil {
		return nil, Explain("list the users", err)
	}
	var found []services.Resource
	for _, p := range projects {
		found = append(found, services.Resource{Instance: p.Instance, Name: p.Name})
	}
	for _, e := range users {
		if instance, binding, ok := c.names.bindingOf(e.Name); ok {
			found = append(found, services.Resource{Instance: instance, Binding: binding, Name: e.Name})
		}
	}
	return found, nil
}
