package powerdns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
)

// look is what Reconcile saw of a zone when it last read it.
type look struct {
	serial  uint32
	records int
	minTTL  int
	note    string
	changes int64 // the server's count of changes by update before it
	at      time.Time
}

const (
	// lookAge is how old a look may become if nothing seems to change: the count is one
	// server's, and others may write to the same database.
	lookAge = 30 * time.Minute
	// maxReread is how many zones that seem unchanged are read in one call.
	maxReread = 100
)

// Reconcile implements services.Reconciler: it holds applications' changes to the plan. A
// zone with too many records takes no updates, and times to live below the plan's are
// raised.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	counts, err := b.counts(ctx)
	if err != nil {
		return result, err
	}
	zones, err := b.zones(ctx, "")
	if err != nil {
		return result, err
	}
	byAccount := make(map[string]zone, len(zones))
	for _, z := range zones {
		byAccount[z.account] = z
	}
	b.forget(byAccount)
	all := b.due(r.Instances, byAccount, counts.changes)
	if len(all) > 0 {
		err = b.watch(ctx, counts, all[0].inst, all[0].zone.name)
	}
	for _, inst := range r.Instances {
		result.Record(inst.ID, services.Condition{}, nil) // unless it has a zone: one without is being made or removed
	}
	for _, d := range all {
		note, fault := d.last.note, error(nil)
		if d.read {
			if note, fault = b.keep(ctx, d); fault != nil {
				fault = fmt.Errorf("reconcile the zone %s: %w", strings.TrimSuffix(d.zone.name, "."), fault)
			}
		}
		result.Record(d.inst.ID, services.Condition{Reason: services.OverQuota, Message: note}, fault)
	}
	return result, err
}

// due is an instance's zone, what was seen of it last, and whether to read it.
type due struct {
	inst instance
	zone zone
	last look
	read bool
}

// due says which zones have to be read: those whose serial number or plan changed, and in
// turn those for which only the serial number says that they did not. An application can
// set that number back, but not the server's count of changes.
func (b *backend) due(instances []instance, zones map[string]zone, changes int64) []due {
	var all []due
	var doubtful []int
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, inst := range instances {
		z, ok := zones[b.names.account(inst.Name)]
		if !ok {
			continue
		}
		last := b.seen[z.account]
		changed := last.serial != z.serial || last.records != inst.Plan.Records || last.minTTL != inst.Plan.MinTTL
		if !changed && (last.changes != changes || time.Since(last.at) > lookAge) {
			doubtful = append(doubtful, len(all))
		}
		last.changes = changes
		all = append(all, due{inst, z, last, changed})
	}
	slices.SortStableFunc(doubtful, func(i, j int) int { return all[i].last.at.Compare(all[j].last.at) })
	for _, i := range doubtful[:min(len(doubtful), maxReread)] {
		all[i].read = true
	}
	return all
}

// keep enforces the limits of one zone.
func (b *backend) keep(ctx context.Context, d due) (string, error) {
	inst, z := d.inst, d.zone
	content, err := b.api.Zones.Get(ctx, z.name)
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return d.last.note, explain("read the zone", err)
	}
	count, low := inspect(z.name, content.RRsets, inst.Plan.MinTTL, len(b.nameserver))
	overQuota := count > inst.Plan.Records
	note := ""
	if overQuota {
		note = fmt.Sprintf("records: %d of %d are in use, so dynamic updates are refused; remove some by an update of the instance that names them without values, or move to a larger plan",
			count, inst.Plan.Records)
	}
	if err := b.open(ctx, z.name, !overQuota); err != nil {
		return note, err
	}
	if !overQuota && len(low) > 0 {
		return note, b.raise(ctx, inst, z.name, low)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[z.account] = look{
		serial: z.serial, records: inst.Plan.Records, minTTL: inst.Plan.MinTTL,
		note: note, changes: d.last.changes, at: time.Now(),
	}
	return note, nil
}

func (b *backend) forget(existing map[string]zone) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for account := range b.seen {
		if _, ok := existing[account]; !ok {
			delete(b.seen, account)
		}
	}
}

// largeRecord is how long a record may be to count as one, in characters of a zone file:
// the longest value that parameters can have.
const largeRecord = 16 << 10

// inspect counts a zone's records, without the server's own, and returns the
// sets whose time to live is below the plan's. A large record counts as several.
func inspect(zone string, sets []pdns.RRset, minTTL, nameservers int) (count int, low []pdns.RRset) {
	for _, set := range sets {
		apex := strings.EqualFold(pdns.StringValue(set.Name), zone)
		if apex && kindOf(set) == "SOA" {
			continue
		}
		size := 0
		for _, r := range set.Records {
			size += 1 + len(pdns.StringValue(r.Content))/largeRecord
		}
		if apex && kindOf(set) == "NS" {
			size = max(0, size-nameservers)
		}
		count += size
		if int64(pdns.Uint32Value(set.TTL)) < int64(minTTL) {
			low = append(low, set)
		}
	}
	return count, low
}

// open allows or refuses updates of a zone. It leaves the list of keys alone, so that it
// does not interfere with binds.
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
