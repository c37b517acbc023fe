package powerdns

import (
	"context"
	"slices"
)

// Unbind implements services.Backend. The key goes out of the zone's lists
// before it goes itself: later nothing would tell that this is still to be
// done.
func (b *backend) Unbind(ctx context.Context, inst instance, bd binding) error {
	key := b.names.key(inst.Name, bd.Name)
	z, ok, err := b.find(ctx, inst.Name, zoneName(inst))
	if err != nil {
		return err
	}
	if ok {
		if err := b.revoke(ctx, z.name, inst.Name, key); err != nil {
			return err
		}
	}
	return b.deleteKey(ctx, key)
}

// revoke takes a key out of a zone's lists.
func (b *backend) revoke(ctx context.Context, zone, instance, key string) error {
	lists, err := b.lists(ctx, zone)
	if absent(err) { // the zone went in between
		return nil
	}
	if err != nil {
		return err
	}
	updaters := without(lists.update, key)
	if keeper := b.names.keeper(instance); !slices.Contains(updaters, keeper) {
		updaters = append(updaters, keeper)
	}
	return b.setLists(ctx, zone, lists, keyLists{updaters, without(lists.transfer, key)})
}
