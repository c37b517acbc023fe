package powerdns

import (
	"context"
	"errors"
	"strings"

	"github.com/chandler-broker/chandler/services"

	pdns "github.com/joeig/go-powerdns/v3"
)

// Update implements services.Backend. Only the sets that differ between prev and
// next are written, all in one call, with the values that applications added to
// them. A change that an application makes to one of these sets in that moment is
// lost: this server's API can only write whole sets.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	z, ok, err := b.find(ctx, r.Instance.Name, zoneName(r.Previous), zoneName(r.Instance))
	if err != nil {
		return services.UpdateResult{}, err
	}
	if !ok {
		return services.UpdateResult{}, errors.New("the zone is not there; was it deleted by hand? deprovision the instance")
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
	there, err := b.read(ctx, z.name, changed)
	if err != nil {
		return services.UpdateResult{}, err
	}
	sets := changes(was, is, there)
	return services.UpdateResult{}, refusedRecords("change records", b.api.Records.Patch(ctx, z.name, &pdns.RRsets{Sets: sets}))
}

// read returns those of the zone's sets whose keys are wanted.
func (b *backend) read(ctx context.Context, zone string, wanted []setKey) (recordSets, error) {
	content, err := b.api.Zones.Get(ctx, zone)
	if err != nil {
		return nil, explain("read the zone", err)
	}
	sets, want := recordSets{}, map[setKey]bool{}
	for _, key := range wanted {
		want[key] = true
	}
	for _, set := range content.RRsets {
		key := setKey{strings.ToLower(pdns.StringValue(set.Name)), kindOf(set)}
		if !want[key] {
			continue
		}
		have := recordSet{ttl: pdns.Uint32Value(set.TTL)}
		for _, r := range set.Records {
			have.values = append(have.values, pdns.StringValue(r.Content))
		}
		sets[key] = have
	}
	return sets, nil
}

// sign changes whether a zone is signed, and looks whether it is then: a server
// whose disk was full takes for done what it could not write, and has no key.
func (b *backend) sign(ctx context.Context, zone string, signed bool) error {
	if err := b.api.Zones.Change(ctx, zone, &pdns.Zone{DNSsec: pdns.Bool(signed)}); err != nil {
		return explain("change whether the zone is signed", err)
	}
	keys, err := b.api.Cryptokeys.List(ctx, zone)
	if err != nil {
		return explain("read the zone's signing keys", err)
	}
	if len(keys) > 0 != signed {
		return errors.New("change whether the zone is signed: the DNS server says that it did and did not; its log says why, such as a full disk: restart it if this stays so")
	}
	return nil
}
