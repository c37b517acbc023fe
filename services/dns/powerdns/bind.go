package powerdns

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"

	pdns "github.com/joeig/go-powerdns/v3"

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

// makeKey makes a TSIG key, or makes sure that the one of that name is it. One
// that differs is deleted first: not every version of the server replaces it.
func (b *backend) makeKey(ctx context.Context, name, secret string) error {
	_, err := b.api.TSIGKeys.Create(ctx, name, b.config.TSIGAlgorithm, secret)
	if answered(err) != http.StatusConflict {
		return explain("make the TSIG key", err)
	}
	key, err := b.api.TSIGKeys.Get(ctx, name)
	if err != nil {
		return explain("read the TSIG key", err)
	}
	if pdns.StringValue(key.Key) == secret && canonicalKey(pdns.StringValue(key.Algorithm)) == b.config.TSIGAlgorithm+"." {
		return nil
	}
	if err := b.deleteKey(ctx, name); err != nil {
		return err
	}
	_, err = b.api.TSIGKeys.Create(ctx, name, b.config.TSIGAlgorithm, secret)
	return explain("make the TSIG key again", err)
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

// keyLists are the keys that may update a zone and those that may transfer it.
type keyLists struct{ update, transfer []string }

func (b *backend) lists(ctx context.Context, zone string) (keyLists, error) {
	all, err := b.api.Metadata.List(ctx, zone)
	if err != nil {
		return keyLists{}, explain("read the zone's keys", err)
	}
	var lists keyLists
	for _, m := range all {
		if m.Kind == nil {
			continue
		}
		switch *m.Kind {
		case pdns.MetadataTSIGAllowDNSUpdate:
			lists.update = canonicalKeys(m.Metadata)
		case pdns.MetadataTSIGAllowAXFR:
			lists.transfer = canonicalKeys(m.Metadata)
		}
	}
	return lists, nil
}

func canonicalKeys(names []string) []string {
	keys := make([]string, 0, len(names))
	for _, name := range names {
		keys = append(keys, canonicalKey(name))
	}
	return keys
}

func without(keys []string, gone string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == gone })
}

// setLists writes the lists that change.
func (b *backend) setLists(ctx context.Context, zone string, was, is keyLists) error {
	if !sameKeys(was.update, is.update) {
		if err := b.setUpdaters(ctx, zone, is.update); err != nil {
			return err
		}
	}
	if sameKeys(was.transfer, is.transfer) {
		return nil
	}
	err := b.api.setTransfer(ctx, zone, is.transfer)
	if answered(err) == http.StatusUnprocessableEntity { // the server refuses lists with keys that somebody deleted by hand
		existing, listErr := b.keys(ctx)
		if listErr != nil {
			return listErr
		}
		err = b.api.setTransfer(ctx, zone, slices.DeleteFunc(is.transfer, func(key string) bool { return !slices.Contains(existing, key) }))
	}
	return explain("tell the zone who may transfer it", err)
}

// setUpdaters sets the keys that may update the zone; there must be one, since
// a zone without any takes updates from everybody.
func (b *backend) setUpdaters(ctx context.Context, zone string, keys []string) error {
	_, err := b.api.Metadata.Set(ctx, zone, pdns.MetadataTSIGAllowDNSUpdate, keys)
	return explain("tell the zone who may update it", err)
}

func sameKeys(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
