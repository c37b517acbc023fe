package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

// shareVersion is a version of Manila's API in which all of these calls exist.
const shareVersion = "2.63"

// asAdmin returns a client with a token of the cloud's administrator, in its project.
func (i *Identity) asAdmin(ctx context.Context) (*gophercloud.ProviderClient, error) {
	a := i.Admin()
	client, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: i.AuthURL(), Username: a.Name, Password: a.Password, DomainName: a.Domain,
		Scope: &gophercloud.AuthScope{ProjectName: a.Project, DomainName: a.Domain},
	})
	if err != nil {
		return nil, fmt.Errorf("log in as the cloud's administrator: %w", err)
	}
	return client, nil
}

func (i *Identity) endpointOptions() gophercloud.EndpointOpts {
	return gophercloud.EndpointOpts{Region: region}
}

// Holds lists the projects and users in the broker's domain, without the accounts of Broker and
// DomainAdmin.
func (i *Identity) Holds(ctx context.Context) ([]string, error) {
	provider, err := i.asAdmin(ctx)
	if err != nil {
		return nil, err
	}
	client, err := openstack.NewIdentityV3(provider, i.endpointOptions())
	if err != nil {
		return nil, err
	}
	names := []string{}
	err = eachPage(ctx, projects.List(client, projects.ListOpts{DomainID: i.ids.Domain}), projects.ExtractProjects, func(p projects.Project) {
		names = append(names, "project "+p.Name)
	})
	also := eachPage(ctx, users.List(client, users.ListOpts{DomainID: i.ids.Domain}), users.ExtractUsers, func(u users.User) {
		if u.Name != i.Broker().Name && u.Name != i.DomainAdmin().Name {
			names = append(names, "user "+u.Name)
		}
	})
	return names, errors.Join(err, also)
}

// eachPage calls found with each resource of a list.
func eachPage[T any](ctx context.Context, list pagination.Pager, extract func(pagination.Page) ([]T, error), found func(T)) error {
	return list.EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		resources, err := extract(page)
		for _, r := range resources {
			found(r)
		}
		return err == nil, err
	})
}

// Holds lists the zones of all projects.
func (d *DNSService) Holds(ctx context.Context) ([]string, error) {
	provider, err := d.cloud.Identity.asAdmin(ctx)
	if err != nil {
		return nil, err
	}
	client, err := openstack.NewDNSV2(provider, d.cloud.Identity.endpointOptions())
	if err != nil {
		return nil, err
	}
	client.MoreHeaders = map[string]string{"X-Auth-All-Projects": "true"}
	names := []string{}
	err = eachPage(ctx, zones.List(client, nil), zones.ExtractZones, func(z zones.Zone) {
		names = append(names, "zone "+z.Name)
	})
	return names, err
}

// Holds lists the shares and snapshots of all projects.
func (s *ShareService) Holds(ctx context.Context) ([]string, error) {
	provider, err := s.cloud.Identity.asAdmin(ctx)
	if err != nil {
		return nil, err
	}
	client, err := openstack.NewSharedFileSystemV2(provider, s.cloud.Identity.endpointOptions())
	if err != nil {
		return nil, err
	}
	client.Microversion = shareVersion
	names := []string{}
	err = eachPage(ctx, shares.ListDetail(client, shares.ListOpts{AllTenants: true}), shares.ExtractShares, func(s shares.Share) {
		names = append(names, "share "+s.ID+" "+s.Name)
	})
	also := eachPage(ctx, snapshots.ListDetail(client, snapshots.ListOpts{AllTenants: true}), snapshots.ExtractSnapshots, func(s snapshots.Snapshot) {
		names = append(names, "snapshot "+s.ID+" "+s.Name)
	})
	return names, errors.Join(err, also)
}

// Holds lists the instances and backups of all projects.
func (d *DatabaseService) Holds(ctx context.Context) ([]string, error) {
	provider, err := d.cloud.Identity.asAdmin(ctx)
	if err != nil {
		return nil, err
	}
	client, err := openstack.NewDBV1(provider, d.cloud.Identity.endpointOptions())
	if err != nil {
		return nil, err
	}
	type resource struct{ ID, Name string }
	var list struct{ Instances, Backups []resource }
	// gophercloud has neither call.
	for _, path := range []string{"mgmt/instances?deleted=false", "backups?all_projects=true"} {
		if _, err := client.Get(ctx, client.Endpoint+path, &list, nil); err != nil { //nolint:bodyclose // it closes it
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
	}
	names := []string{}
	for _, i := range list.Instances {
		names = append(names, "instance "+i.ID+" "+i.Name)
	}
	for _, b := range list.Backups {
		names = append(names, "backup "+b.ID+" "+b.Name)
	}
	return names, nil
}

// Holds lists the buckets and users, without the broker's account.
func (o *ObjectService) Holds(ctx context.Context) ([]string, error) {
	names := []string{}
	for _, what := range []string{"user", "bucket"} {
		out, err := exec.CommandContext(ctx, filepath.Join(o.cloud.Programs(), "radosgw-admin"), what, "list").Output() //nolint:gosec // the cloud's own
		if err != nil {
			return nil, fmt.Errorf("radosgw-admin %s list: %w", what, err)
		}
		var found []string
		if err := json.Unmarshal(out, &found); err != nil {
			return nil, fmt.Errorf("radosgw-admin %s list: %w: %.200s", what, err, out)
		}
		for _, name := range found {
			if what != "user" || strings.TrimPrefix(name, "$") != gatewayAdmin {
				names = append(names, what+" "+name)
			}
		}
	}
	return names, nil
}
