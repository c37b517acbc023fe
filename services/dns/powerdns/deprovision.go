package powerdns

import (
	"context"
	"strings"
)

// Deprovision implements services.Backend. Everything is found by the names
// that it was given, so that a zone made for another plan goes as well.
func (b *backend) Deprovision(ctx context.Context, inst instance) error {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return err
	}
	for _, z := range zones {
		if owner, _, ours := b.names.instanceOf(z.account); ours && owner == inst.Name {
			if err := b.deleteZone(ctx, z.name); err != nil {
				return err
			}
		}
	}
	keys, err := b.listedKeys(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if strings.HasSuffix(key, b.names.keys(inst.Name)) {
			if err := b.deleteKey(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}
