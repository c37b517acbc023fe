package powerdns

import (
	"context"
	"errors"
	"fmt"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
)

// look is what Keep saw of a zone when it last read it.
type look struct {
	serial  uint32
	records int
	minTTL  int
	note    string
}

// Keep implements services.Keeper: it holds what applications change by
// themselves to the plan. A zone with too many records takes no more updates,
// and times to live below the plan's are raised to it.
func (b *backend) Keep(ctx context.Context, _ []Plan, instances []instance) (map[string]services.Condition, error) {
	if len(instances) == 0 {
		return nil, nil
	}
	zones, err := b.zones(ctx, "")
	if err != nil {
		return nil, err
	}
	byAccount := make(map[string]zone, len(zones))
	for _, z := range zones {
		byAccount[z.account] = z
	}
	notes, errs := map[string]services.Condition{}, []error(nil)
	for _, inst := range instances {
		z, ok := byAccount[b.names.account(inst.Name)]
		if !ok {
			continue
		}
		note, err := b.keep(ctx, inst, z)
		if err != nil {
			errs = append(errs, fmt.Errorf("look after the zone %s: %w", strings.TrimSuffix(z.name, "."), err))
		}
		if note != "" {
			notes[inst.ID] = services.Condition{Reason: services.OverQuota, Message: note}
		}
	}
	b.forget(byAccount)
	return notes, errors.Join(errs...)
}

// keep looks after one zone, and reads it only where it or its plan changed:
// every change, the applications' too, raises a zone's serial number.
func (b *backend) keep(ctx context.Context, inst instance, z zone) (string, error) {
	now := look{serial: z.serial, records: inst.Plan.Records, minTTL: inst.Plan.MinTTL}
	b.mu.Lock()
	last := b.seen[z.account]
	b.mu.Unlock()
	if now.note = last.note; now == last {
		return now.note, nil
	}
	content, err := b.api.Zones.Get(ctx, z.name)
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return last.note, explain("read the zone", err)
	}
	count, low := inspect(z.name, content.RRsets, inst.Plan.MinTTL)
	over := count > inst.Plan.Records
	now.note = ""
	if over {
		now.note = fmt.Sprintf("records: %d of %d are in use, so dynamic updates are refused; remove some by an update of the instance that names them without values, or move to a larger plan",
			count, inst.Plan.Records)
	}
	if err := b.open(ctx, z.name, !over); err != nil {
		return now.note, err
	}
	if !over && len(low) > 0 {
		return now.note, b.raise(ctx, inst, z.name, low)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[z.account] = now
	return now.note, nil
}

func (b *backend) forget(there map[string]zone) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for account := range b.seen {
		if _, ok := there[account]; !ok {
			delete(b.seen, account)
		}
	}
}

// inspect counts a zone's records, without the server's own, and returns the
// sets whose time to live is below the plan's.
func inspect(zone string, sets []pdns.RRset, minTTL int) (count int, low []pdns.RRset) {
	for _, set := range sets {
		apex := strings.EqualFold(pdns.StringValue(set.Name), zone)
		if apex && kindOf(set) == "SOA" {
			continue
		}
		if !apex || kindOf(set) != "NS" {
			count += len(set.Records)
		}
		if int64(pdns.Uint32Value(set.TTL)) < int64(minTTL) {
			low = append(low, set)
		}
	}
	return count, low
}

// open lets updates of a zone in, or keeps them out. That is told apart from
// the list of keys, so that it gets into no bind's way.
func (b *backend) open(ctx context.Context, zone string, wanted bool) error {
	allowed, err := b.api.Metadata.Get(ctx, zone, pdns.MetadataAllowDNSUpdateFrom)
	if absent(err) {
		return nil
	}
	if err != nil {
		return explain("read who may update the zone", err)
	}
	switch {
	case wanted == (len(allowed.Metadata) > 0):
		return nil
	case wanted:
		return b.allowUpdates(ctx, zone)
	}
	err = unlessAbsent(b.api.Metadata.Delete(ctx, zone, pdns.MetadataAllowDNSUpdateFrom))
	return explain("refuse updates of the zone", err)
}
