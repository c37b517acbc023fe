package powerdns

import (
	"context"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend. The key goes out of the zone's lists
// before it goes itself: later nothing would tell that this is still to be
// done.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	key := b.names.key(r.Instance.Name, r.Binding.Name)
	z, ok, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err != nil {
		return services.UnbindResult{}, err
	}
	if ok {
		if err := b.revoke(ctx, z.name, r.Instance.Name, key); err != nil {
			return services.UnbindResult{}, err
		}
	}
	return services.UnbindResult{}, b.deleteKey(ctx, key)
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
