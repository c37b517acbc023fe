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
		change := &pdns.Zone{DNSsec: pdns.Bool(next.Plan.DNSSEC)}
		if err := b.api.Zones.Change(ctx, z.name, change); err != nil {
			return explain("change whether the zone is signed", err)
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
