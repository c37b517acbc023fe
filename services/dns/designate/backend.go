// Package designate makes a DNS zone per instance and an application credential per binding, in
// OpenStack Designate. README.md in this folder is the operator's page.
package designate

import (
	"context"
	"embed"
	"errors"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// backend administers the zones in one cloud. It asks the cloud each time what exists.
type backend struct {
	config Config
	cloud  *openstack.Cloud
}

func open(_ context.Context, c Config) (*backend, error) {
	cloud, err := openstack.Open(c.Config, openstack.Service{Name: "Designate", Types: []string{"dns"}, Kind: "dns"})
	if err != nil {
		return nil, err
	}
	return &backend{c, cloud}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error { return b.cloud.Close() }

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error { return b.cloud.Ready(ctx) }

// List implements services.Lister.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) { return b.cloud.List(ctx) }

// ResourceName implements services.Namer: an instance is its project.
func (b *backend) ResourceName(inst instance) string { return b.cloud.ProjectName(inst.Name) }

// CheckInstance implements services.InstanceChecker.
func (b *backend) CheckInstance(inst instance) error {
	if err := inst.Plan.Check(zoneName(inst), inst.Params.Records); err != nil {
		return err
	}
	return checkStorable(inst.Params.Records)
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	if err := r.Instance.Plan.CheckUpdate(r.Instance.Name, zoneName(r.Previous), r.Instance.Params); err != nil {
		return err
	}
	return checkStorable(r.Instance.Params.Records)
}

// enter returns the instance's project and a client of Designate that acts in it.
func (b *backend) enter(ctx context.Context, instance string) (openstack.Project, *gophercloud.ServiceClient, error) {
	p, err := b.cloud.FindProject(ctx, instance)
	if err != nil {
		return p, nil, err
	}
	client, err := b.client(ctx, p)
	return p, client, err
}

// client returns a client of Designate's API v2, whose catalog entry may lack the version.
func (b *backend) client(ctx context.Context, p openstack.Project) (*gophercloud.ServiceClient, error) {
	client, err := b.cloud.Client(ctx, p)
	if err != nil {
		return nil, err
	}
	return versioned(client), nil
}

func versioned(client *gophercloud.ServiceClient) *gophercloud.ServiceClient {
	client.ResourceBase = client.Endpoint
	if !strings.HasSuffix(client.Endpoint, "/v2/") {
		client.ResourceBase += "v2/"
	}
	return client
}

// Describe implements services.Describer: what the zone's delegation needs, and its state.
func (b *backend) Describe(ctx context.Context, inst instance) (map[string]any, error) {
	_, client, err := b.enter(ctx, inst.Name)
	if err != nil {
		return nil, err
	}
	z, err := findZone(ctx, client, zoneName(inst))
	if err != nil {
		return nil, err
	}
	names, err := nameservers(ctx, client, z.ID)
	if err != nil {
		return nil, err
	}
	limit, err := recordsLimit(ctx, client)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"zone": strings.TrimSuffix(z.Name, "."), "nameservers": names, "zone_id": z.ID, "status": z.Status,
		"records_limit": float64(min(limit, inst.Plan.Records)),
	}, nil
}

// errNoZone says that an instance's project has no zone.
var errNoZone = errors.New("the instance's zone does not exist or is incomplete: provision the instance again, or deprovision it if somebody deleted the zone")

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials: their clients are not those of "dns".
const credentialType = "designate"

// Definition describes the backend "dns/designate".
func Definition() services.Definition {
	return services.Define("dns/designate",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}

// withoutDot is a name as users write it.
func withoutDot(name string) string { return strings.TrimSuffix(name, ".") }
