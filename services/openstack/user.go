package openstack

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/chandler-broker/chandler/services"
)

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
		if err := c.resetUser(ctx, id, password); err != nil {
			return nil, "", err
		}
		return nil, "", services.NotYet(revocationTime, "Keystone is setting the binding's password")
	}
	return s, id, Explain("authenticate as the binding's user", err)
}

// revocationTime is how long Keystone may refuse new tokens after it revoked older ones: the times
// in tokens are whole seconds.
const revocationTime = 2 * time.Second

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
