package powerdns

import (
	"context"
	"encoding/base64"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. It makes the key first: a zone can list only existing
// keys, and a key that no zone lists has no rights.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err != nil {
		return services.BindResult{}, err
	}
	name := b.names.key(r.Instance.Name, r.Binding.Name)
	secret := base64.StdEncoding.EncodeToString(r.Binding.Seed.Bytes("tsig", keySizes[b.config.TSIGAlgorithm]))
	r.Binding.Seed.Conceal(secret)
	if err := b.makeKey(ctx, name, secret); err != nil {
		return services.BindResult{}, err
	}
	if err := b.grant(ctx, z.name, name, r.Binding.Params.Role); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.credentials(z.name, name, secret, r.Binding.Params.Role)}, nil
}

// grant adds a key to the list of its role, and removes it from the other.
func (b *backend) grant(ctx context.Context, zone, key string, role access.Role) error {
	lists, err := b.lists(ctx, zone)
	if err != nil {
		return err
	}
	updaters, transferrers := without(lists.update, key), without(lists.transfer, key)
	if role == access.ReadOnly {
		transferrers = append(transferrers, key)
	} else {
		updaters = append(updaters, key)
	}
	return b.setLists(ctx, zone, lists, keyLists{updaters, transferrers})
}
