package powerdns

import (
	"context"
	"errors"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend. It writes only the sets that differ, all in one call,
// with the values that applications added to them. A change that an application makes to
// one of these sets at that moment is lost: the API can only write whole sets.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Previous), zoneName(r.Instance))
	if err != nil {
		return services.UpdateResult{}, err
	}
	if r.Previous.Plan.DNSSEC != r.Instance.Plan.DNSSEC {
		if err := b.sign(ctx, z.name, r.Instance.Plan.DNSSEC); err != nil {
			return services.UpdateResult{}, err
		}
	}
	was, err := parseRecords(r.Previous.Plan, z.name, r.Previous.Params.Records)
	if err != nil {
		return services.UpdateResult{}, err
	}
	is, err := parseRecords(r.Instance.Plan, z.name, r.Instance.Params.Records)
	if err != nil {
		return services.UpdateResult{}, err
	}
	changed := differ(was, is)
	if len(changed) == 0 {
		return services.UpdateResult{}, nil
	}
	existing, err := b.read(ctx, z.name, changed)
	if err != nil {
		return services.UpdateResult{}, err
	}
	sets := changes(was, is, existing)
	return services.UpdateResult{}, refusedRecords("change records", b.api.Records.Patch(ctx, z.name, &pdns.RRsets{Sets: sets}))
}

// read returns those of the zone's sets whose keys are wanted.
func (b *backend) read(ctx context.Context, zone string, wanted []setKey) (recordSets, error) {
	content, err := b.api.Zones.Get(ctx, zone)
	if err != nil {
		return nil, explain("read the zone", err)
	}
	sets := recordSets{}
	for _, set := range content.RRsets {
		key := setKey{strings.ToLower(pdns.StringValue(set.Name)), kindOf(set)}
		if slices.Contains(wanted, key) {
			sets[key] = recordSet{pdns.Uint32Value(set.TTL), valuesOf(set)}
		}
	}
	return sets, nil
}

// sign changes whether a zone is signed, and checks the result: a server whose disk is
// full reports success without having written a key.
func (b *backend) sign(ctx context.Context, zone string, signed bool) error {
	if err := b.api.Zones.Change(ctx, zone, &pdns.Zone{DNSsec: pdns.Bool(signed)}); err != nil {
		return explain("change whether the zone is signed", err)
	}
	keys, err := b.api.Cryptokeys.List(ctx, zone)
	if err != nil {
		return explain("read the zone's signing keys", err)
	}
	if len(keys) > 0 != signed {
		return errors.New("change whether the zone is signed: the DNS server reported success but did not do it; its log says why, such as a full disk; restart the server if this persists")
	}
	return nil
}
