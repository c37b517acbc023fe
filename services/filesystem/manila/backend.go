// Package manila makes a share per instance and an access rule per binding in OpenStack's Manila,
// over CephFS or NFS. README.md is the operator's page.
package manila

import (
	"context"
	"embed"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// backend uses one cloud. Except for tokens, it holds no state.
type backend struct {
	cloud *openstack.Cloud
	names namer
	csi   csi
}

func open(_ context.Context, c Config) (*backend, error) {
	cloud, err := openstack.Open(c.Config, openstack.Service{
		Name: "Manila", Kind: kind, Types: []string{"sharev2", "shared-file-system"},
	})
	if err != nil {
		return nil, err
	}
	return &backend{cloud: cloud, names: newNamer(c.Prefix), csi: csi{cluster: c.CSIClusterID, fileSystem: c.CephFileSystem}}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error { return b.cloud.Close() }

// SerialBinds implements services.SerialBinder: bindings with the same address share a rule, which
// is read and then written.
func (b *backend) SerialBinds() bool { return true }

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials of shares over CephFS.
const credentialType = "cephfs"

// Definition describes the backend "filesystem/manila".
func Definition() services.Definition {
	return services.Define("filesystem/manila",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}

// CheckInstance implements services.InstanceChecker.
func (b *backend) CheckInstance(inst instance) error {
	if most := inst.Plan.most(); inst.Params.Storage > most {
		return services.Rejected("parameters.storage: the plan allows at most %s: choose a smaller size, or a larger plan", most)
	}
	return nil
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	if prev, next := r.Previous.Plan, r.Instance.Plan; prev.Protocol != next.Protocol || prev.ShareType != next.ShareType {
		return services.Rejected("plan_id: shares of the plan are of another type or protocol, which an existing share cannot change to: create an instance of that plan, and copy the files")
	}
	return nil
}

// size is how many gigabytes an instance's share should have.
func size(inst instance) int {
	s := inst.Plan.Storage
	if inst.Params.Storage != 0 {
		s = inst.Params.Storage
	}
	return int(s / services.Gigabyte)
}

const kind = "share"

var (
	_ services.InstanceChecker[Plan, InstanceParams] = (*backend)(nil)
	_ services.UpdateChecker[Plan, InstanceParams]   = (*backend)(nil)
	_ services.SerialBinder                          = (*backend)(nil)
)
