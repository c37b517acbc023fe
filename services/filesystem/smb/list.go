package smb

import (
	"context"
	"maps"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.names.resource(inst.Name) }

// List implements services.Lister. An instance has an account, a share and a folder; a crash
// may have left any of them alone.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	t, err := b.accounts.read()
	if err != nil {
		return nil, err
	}
	shares, err := b.samba.shares(ctx)
	if err != nil {
		return nil, err
	}
	folders, err := b.folder.shares()
	if err != nil {
		return nil, err
	}
	instances := map[string]string{} // by Instance.Name: where it was seen
	note := func(where string, names []string) {
		for _, n := range names {
			if instance, ours := b.names.rule.Instance(n); ours && instances[instance] == "" {
				instances[instance] = where + " " + n
			}
		}
	}
	note("share", slices.Collect(maps.Keys(shares)))
	note("folder", folders)
	var found []services.Resource
	for _, a := range t.all() {
		if a.role == owner {
			note("account", []string{b.names.of(a.name)})
		} else {
			found = append(found, services.Resource{Instance: a.instance, Binding: a.name, Name: "account " + b.names.of(a.name)})
		}
	}
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		found = append(found, services.Resource{Instance: instance, Name: instances[instance]})
	}
	return found, nil
}
