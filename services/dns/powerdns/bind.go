package powerdns

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend. The key is made first: a zone can be told
// only of keys that exist, and a key that no zone lists may do nothing.
func (b *backend) Bind(ctx context.Context, inst instance, bd binding) (services.Credentials, error) {
	z, ok, err := b.find(ctx, inst.Name, zoneName(inst))
	if err != nil {
		return services.Credentials{}, err
	}
	if !ok {
		return services.Credentials{}, errors.New("the instance's zone is not there or not finished; provision the instance again")
	}
	name := b.names.key(inst.Name, bd.Name)
	secret := base64.StdEncoding.EncodeToString(bd.Seed.Bytes("tsig", keySizes[b.config.TSIGAlgorithm]))
	bd.Seed.Conceal(secret)
	if err := b.makeKey(ctx, name, secret); err != nil {
		return services.Credentials{}, err
	}
	if err := b.grant(ctx, z.name, name, bd.Params.Role); err != nil {
		return services.Credentials{}, err
	}
	return b.credentials(z.name, name, secret, bd.Params.Role), nil
}

// grant puts a key into the list that fits its role, and takes it out of the
// other.
func (b *backend) grant(ctx context.Context, zone, key, role string) error {
	lists, err := b.lists(ctx, zone)
	if err != nil {
		return err
	}
	updaters, transferrers := without(lists.update, key), without(lists.transfer, key)
	if role == readOnly {
		transferrers = append(transferrers, key)
	} else {
		updaters = append(updaters, key)
	}
	return b.setLists(ctx, zone, lists, keyLists{updaters, transferrers})
}
