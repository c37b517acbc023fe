package powerdns

import (
	"context"
	"errors"

	pdns "github.com/joeig/go-powerdns/v3"
)

// Update implements services.Backend. Only the records that differ between prev
// and next are written, all in one call, so that what applications changed
// themselves stays.
func (b *backend) Update(ctx context.Context, prev, next instance) error {
	z, ok, err := b.find(ctx, next.Name, zoneName(prev), zoneName(next))
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("the zone is not there; was it deleted by hand? deprovision the instance")
	}
	if prev.Plan.DNSSEC != next.Plan.DNSSEC {
		if err := b.sign(ctx, z.name, next.Plan.DNSSEC); err != nil {
			return err
		}
	}
	was, err := parseRecords(prev.Plan, z.name, prev.Params.Records)
	if err != nil {
		return err
	}
	is, err := parseRecords(next.Plan, z.name, next.Params.Records)
	if err != nil {
		return err
	}
	sets := changes(was, is)
	if len(sets) == 0 {
		return nil
	}
	return refusedRecords("change records", b.api.Records.Patch(ctx, z.name, &pdns.RRsets{Sets: sets}))
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
