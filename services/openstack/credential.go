package openstack

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"

	"github.com/chandler-broker/chandler/services"
)

// Credential is the application credential of a binding.
type Credential struct {
	ID     string
	Secret services.Secret
	// ProjectID is the instance's project.
	ProjectID string
	// Region and URL are where applications find the service: its public endpoint.
	Region, URL string
	// Client is a client of the service that acts as the binding's user, without the
	// credential's access rules.
	Client *gophercloud.ServiceClient
}

// publicInterface is the catalog's interface for applications.
const publicInterface = "public"

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
	role, err := c.memberRole(ctx)
	if err != nil {
		return Credential{}, err
	}
	a := application{cloud: c, keystone: c.identity(s.provider), user: user, name: binding, role: role, rules: wanted, secret: seed.Password(credentialLabel)}
	id, err := a.ensure(ctx)
	if f, ok := AsFailure(err); ok && f.Service == keystoneName && f.Status == http.StatusBadRequest {
		// Under load, Keystone has been seen to take the roles of a fresh token for others.
		return Credential{}, services.NotYet(time.Second, "Keystone does not know the rights of the binding's user yet")
	}
	if err != nil {
		return Credential{}, Explain("create the application credential", err)
	}
	result, err := s.result()
	if err != nil {
		return Credential{}, err
	}
	public, err := c.inCatalog(result, publicInterface)
	return Credential{ID: id, Secret: a.secret, ProjectID: p.ID, Region: public.region, URL: public.url, Client: client}, err
}

const credentialLabel = "application credential"

// application is an application credential that should exist.
type application struct {
	cloud      *Cloud
	keystone   *gophercloud.ServiceClient
	user, name string
	role       string // its ID
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
			works, err := a.works(ctx, f.ID)
			if works || err != nil {
				return f.ID, err
			}
		}
		if err := applicationcredentials.Delete(ctx, a.keystone, a.user, f.ID).ExtractErr(); UnlessAbsent(err) != nil {
			return "", err
		}
	}
	return a.create(ctx)
}

// works reports whether the credential has this secret, and not that of an earlier seed.
func (a application) works(ctx context.Context, id string) (bool, error) {
	_, err := a.cloud.newToken(ctx, gophercloud.AuthOptions{ApplicationCredentialID: id, ApplicationCredentialSecret: a.secret.Reveal()})
	if status := Status(err); status == http.StatusUnauthorized || status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

func (a application) create(ctx context.Context) (id string, err error) {
	created, err := applicationcredentials.Create(ctx, a.keystone, a.user, applicationcredentials.CreateOpts{
		Name: a.name, Description: "made by Chandler", Secret: a.secret.Reveal(), AccessRules: a.rules,
		Roles: []applicationcredentials.Role{{ID: a.role}},
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
	return Explain("authenticate with the application credential", err)
}
