package powerdns

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend. It removes the key from the zone's lists before it
// deletes it: afterwards nothing would show that this is still to be done.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	key := b.names.key(r.Instance.Name, r.Binding.Name)
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err == nil {
		err = b.revoke(ctx, z.name, r.Instance.Name, key)
	}
	if err != nil && !errors.Is(err, errNoZone) {
		return services.UnbindResult{}, err
	}
	return services.UnbindResult{}, b.deleteKey(ctx, key)
}

// revoke removes a key from a zone's lists.
func (b *backend) revoke(ctx context.Context, zone, instance, key string) error {
	lists, err := b.lists(ctx, zone)
	if absent(err) { // the zone was deleted meanwhile
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

// Deprovision implements services.Backend. Everything is found by the names
// that it was given, so that a zone made for another plan goes as well.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	for _, z := range zones {
		if owner, _, ours := b.names.instanceOf(z.account); ours && owner == r.Instance.Name {
			if err := b.deleteZone(ctx, z.name); err != nil {
				return services.DeprovisionResult{}, err
			}
		}
	}
	keys, err := b.listedKeys(ctx)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	for _, key := range keys {
		if strings.HasSuffix(key, b.names.keys(r.Instance.Name)) {
			if err := b.deleteKey(ctx, key); err != nil {
				return services.DeprovisionResult{}, err
			}
		}
	}
	return services.DeprovisionResult{}, nil
}
