package smb

import (
	"context"
	"fmt"
	"os"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
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
	printed, err := s.run(ctx, "testparm", "", "-s", "-v", "--section-name=global", s.config)
	if err != nil {
		return fmt.Errorf("read the server's configuration: %w", err)
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
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }

// Capacity implements services.CapacityReporter.
func (b *backend) Capacity(context.Context) (c services.Capacity, err error) {
	return filesystem.Capacity(b.folder.dir)
}
