package powerdns

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. The key is made first: a zone can be told
// only of keys that exist, and a key that no zone lists may do nothing.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	z, ok, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err != nil {
		return services.BindResult{}, err
	}
	if !ok {
		return services.BindResult{}, errors.New("the instance's zone is not there or not finished; provision the instance again")
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

// grant puts a key into the list that fits its role, and takes it out of the
// other.
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
