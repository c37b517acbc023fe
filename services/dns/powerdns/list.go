package powerdns

import (
	"context"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// List implements services.Lister. An instance is there while its zone is, or a
// keeper's key that a crash left.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return nil, err
	}
	keys, err := b.keys(ctx)
	if err != nil {
		return nil, err
	}
	var found []services.Resource
	listed := map[services.Resource]bool{}
	add := func(instance, binding, resource string) {
		if who := (services.Resource{Instance: instance, Binding: binding}); !listed[who] {
			listed[who] = true
			found = append(found, services.Resource{Instance: instance, Binding: binding, Name: resource})
		}
	}
	for _, z := range zones {
		if instance, _, ours := b.names.instanceOf(z.account); ours {
			add(instance, "", strings.TrimSuffix(z.name, "."))
		}
	}
	for _, key := range keys {
		if instance, binding, ours := b.names.bindingOf(key); ours {
			add(instance, binding, strings.TrimSuffix(key, "."))
		}
	}
	return found, nil
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string {
	return strings.TrimSuffix(zoneName(inst), ".")
}
