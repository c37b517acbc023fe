package powerdns

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

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
	if err := b.grant(ctx, z.Name, name, r.Binding.Params.Role); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.credentials(z.Name, name, secret, r.Binding.Params.Role)}, nil
}

// grant adds a key to the list of its role, and removes it from the other.
func (b *backend) grant(ctx context.Context, zone, key string, role access.Role) error {
	r, err := b.rights(ctx, zone)
	if err != nil {
		return err
	}
	wanted := r.without(key)
	if role == access.ReadOnly {
		wanted.transfer = append(wanted.transfer, key)
	} else {
		wanted.update = append(wanted.update, key)
	}
	return b.setLists(ctx, zone, r, wanted)
}

// Unbind implements services.Backend. It removes the key from the zone's lists before it
// deletes it: afterwards nothing would show that this is still to be done.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	key := b.names.key(r.Instance.Name, r.Binding.Name)
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Instance))
	if err == nil {
		err = b.revoke(ctx, z.Name, r.Instance.Name, key)
	}
	if err != nil && !errors.Is(err, errNoZone) {
		return services.UnbindResult{}, err
	}
	return services.UnbindResult{}, b.deleteKey(ctx, key)
}

// revoke removes a key from a zone's lists.
func (b *backend) revoke(ctx context.Context, zone, instance, key string) error {
	r, err := b.rights(ctx, zone)
	if absent(err) { // the zone was deleted meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	wanted := r.without(key)
	if own := b.names.enforcementKey(instance); !slices.Contains(wanted.update, own) {
		wanted.update = append(wanted.update, own)
	}
	return b.setLists(ctx, zone, r, wanted)
}

// Deprovision implements services.Backend. It also finds a zone that was made for another plan.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	for _, z := range zones {
		if owner, _, ours := b.names.instanceOf(z.Account); ours && owner == r.Instance.Name {
			if err := b.deleteZone(ctx, z.Name); err != nil {
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

// makeKey makes a TSIG key. It first deletes one that differs: not every version of the
// server replaces it.
func (b *backend) makeKey(ctx context.Context, name, secret string) error {
	_, err := b.api.TSIGKeys.Create(ctx, name, b.config.TSIGAlgorithm, secret)
	if answered(err) != http.StatusConflict {
		return explain("create the TSIG key", err)
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
	return explain("recreate the TSIG key", err)
}

// listedKeys returns the names of all TSIG keys that the server lists.
func (b *backend) listedKeys(ctx context.Context) ([]string, error) {
	list, err := b.api.TSIGKeys.List(ctx)
	if err != nil {
		return nil, explain("list TSIG keys", err)
	}
	var names []string
	for _, key := range list {
		names = append(names, canonicalKey(pdns.StringValue(key.Name)))
	}
	return names, nil
}

// keys returns the names of existing TSIG keys. PowerDNS 4.7 with LMDB also lists deleted ones.
func (b *backend) keys(ctx context.Context) ([]string, error) {
	listed, err := b.listedKeys(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := b.settings(ctx)
	if err != nil || !strings.Contains(settings["launch"], "lmdb") {
		return listed, err
	}
	var existing []string
	for _, name := range listed {
		_, err := b.api.TSIGKeys.Get(ctx, name)
		if unlessAbsent(err) != nil {
			return nil, explain("look whether the TSIG key exists", err)
		}
		if err == nil && !slices.Contains(existing, name) {
			existing = append(existing, name)
		}
	}
	return existing, nil
}

func (b *backend) deleteKey(ctx context.Context, name string) error {
	return explain("delete the TSIG key", unlessAbsent(b.api.TSIGKeys.Delete(ctx, name)))
}
