package smb

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
)

// settings are the required ones of the server's section [global], as testparm prints them.
var settings = []struct{ key, value string }{
	{"registry shares", "Yes"},
	{"server smb encrypt", "required"},
	{"map to guest", "Never"},
}

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error {
	if err := b.server.answers(ctx); err != nil {
		return err
	}
	if info, err := os.Stat(b.accounts.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("accounts: %s is not a directory: make it, and let the machine's name service read its files passwd and group", b.accounts.dir)
	}
	if err := b.folder.ready(); err != nil {
		return err
	}
	if err := b.samba.configured(ctx); err != nil {
		return err
	}
	// Whether the broker may administer shows in what only root can read.
	_, err := b.samba.shares(ctx)
	return err
}

// configured says what is missing in the server's configuration.
func (s samba) configured(ctx context.Context) error {
	printed, err := s.run(ctx, "read the server's configuration", "", "testparm", "-s", "-v", "--section-name=global", s.config)
	if err != nil {
		return err
	}
	global := parseSections(printed)["global"]
	for _, want := range settings {
		if global[want.key] != want.value {
			return fmt.Errorf("%s must say \"%s = %s\" in its section [global], not %q", s.config, want.key, want.value, global[want.key])
		}
	}
	return nil
}

var (
	_ services.FootprintReporter[Plan] = (*backend)(nil)
	_ services.CapacityReporter        = (*backend)(nil)
)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: btrfs.Footprint(p.Storage, p.Snapshots)}
}

// Capacity implements services.CapacityReporter.
func (b *backend) Capacity(context.Context) (c services.Capacity, err error) {
	return filesystem.Capacity(b.folder.dir)
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return "share " + b.names.resource(inst.Name) }

// List implements services.Lister. A crash may have left an account, a share or a folder alone.
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
			note("account", []string{b.names.resource(a.name)})
		} else {
			found = append(found, services.Resource{Instance: a.instance, Binding: a.name, Name: "account " + b.names.resource(a.name)})
		}
	}
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		found = append(found, services.Resource{Instance: instance, Name: instances[instance]})
	}
	return found, nil
}
