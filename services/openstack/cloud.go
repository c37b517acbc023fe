package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/httpapi"
)

const (
	keystoneName = "Keystone"
	// callTimeout ends a call without an answer.
	callTimeout = 15 * time.Second
	// connections are kept idle to each server.
	connections = 8
	// sessions is how many projects' tokens are remembered.
	sessions = 256
)

// Service is the service that a backend uses.
type Service struct {
	// Name is its name in errors, such as "Designate".
	Name string
	// Types are its types in Keystone's catalog, best first, such as "dns".
	Types []string
	// Kind is part of the names of projects and users: 1 to 8 characters a-z.
	Kind string
}

// Cloud is one cloud as the broker's account sees it. It is safe for concurrent use.
type Cloud struct {
	config  Config
	service Service
	ca      string
	http    *http.Transport
	names   names
	// domain acts in Keystone with the account's rights on the domain.
	domain *session
	// projects are sessions in projects, by project ID.
	projects *lru.Cache[string, *session]

	role atomic.Pointer[string] // the member role's ID, once it is known
}

// Open makes a Cloud without an outside call.
func Open(c Config, s Service) (*Cloud, error) {
	authorities, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	projects, err := lru.New[string, *session](sessions)
	if err != nil {
		return nil, err
	}
	cloud := &Cloud{
		config: c, service: s, ca: authorities, http: httpapi.NewTransport(authorities, connections),
		names: names{c.Prefix + "-" + s.Kind + "-"}, projects: projects,
	}
	if c.MemberRoleID != "" {
		cloud.role.Store(&c.MemberRoleID)
	}
	cloud.domain = cloud.newSession(cloud.broker(gophercloud.AuthScope{DomainName: c.Domain}), true)
	return cloud, nil
}

// AuthURL is Keystone's URL for applications, without a slash at its end.
func (c *Cloud) AuthURL() string {
	return trimSlash(cmp.Or(c.config.PublicAuthURL, c.config.AuthURL))
}

// Close closes idle connections.
func (c *Cloud) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Ready returns nil if the broker's account works, has no more rights than it needs, and the
// catalog has the service.
func (c *Cloud) Ready(ctx context.Context) error {
	if err := c.domain.verify(ctx); err != nil {
		return Explain("authenticate with Keystone", err)
	}
	if _, err := c.memberRole(ctx); err != nil {
		return err
	}
	_, err := c.endpoint(c.domain, "")
	if _, hidden := errors.AsType[*noEndpoint](err); hidden { // the URLs that contain a project's ID
		return nil
	}
	return err
}

// memberRole returns the ID of the role that the broker and bindings have in a project.
func (c *Cloud) memberRole(ctx context.Context) (string, error) {
	if role := c.role.Load(); role != nil {
		return *role, nil
	}
	keystone, err := c.domain.keystone(ctx)
	if err != nil {
		return "", Explain("authenticate with Keystone", err)
	}
	name := c.config.MemberRole
	roles, err := list(ctx, keystone, "roles", keystone.ServiceURL("roles")+"?"+url.Values{"name": {name}}.Encode())
	if Status(err) == http.StatusForbidden {
		return "", fmt.Errorf("member_role_id: is missing, and the broker's account may not list roles: set it to what this prints: openstack role show %s -f value -c id", name)
	}
	if err != nil {
		return "", Explain("look up the role "+name, err)
	}
	i := slices.IndexFunc(roles, func(r entity) bool { return r.Name == name && r.DomainID == "" })
	if i < 0 {
		return "", fmt.Errorf("member_role: Keystone has no role %s", name)
	}
	c.role.Store(&roles[i].ID)
	return roles[i].ID, nil
}
