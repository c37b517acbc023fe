package powerdns

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

// observation is what Reconcile saw of a zone when it last read it.
type observation struct {
	serial  uint32
	records int
	minTTL  int
	note    string
	changes int64 // the server's count of changes before that
	at      time.Time
}

const (
	// maxAge is when a zone is read again that seems unchanged: the count is one server's,
	// and others may write to the same database.
	maxAge = 30 * time.Minute
	// maxReread is how many such zones one call reads.
	maxReread = 100
)

// Reconcile implements services.Reconciler: a zone with too many records accepts no updates, and
// times to live below the plan's are raised.
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
	byAccount := make(map[string]listed, len(zones))
	for _, z := range zones {
		byAccount[z.Account] = z
	}
	all := b.visits(r.Instances, byAccount, counts.changes)
	if len(all) > 0 {
		err = b.watch(ctx, counts, all[0].inst, all[0].zone.Name)
	}
	for _, inst := range r.Instances {
		result.Record(inst.ID, services.Condition{}, nil) // one without a zone is being made or removed
	}
	for _, v := range all {
		note, fault := v.last.note, error(nil)
		if v.read {
			if note, fault = b.reconcileZone(ctx, v); fault != nil {
				fault = fmt.Errorf("reconcile the zone %s: %w", strings.TrimSuffix(v.zone.Name, "."), fault)
			}
		}
		result.Record(v.inst.ID, services.Condition{Reason: services.OverQuota, Message: note}, fault)
	}
	return result, err
}

// visit is an instance's zone, what was seen of it last, and whether to read it.
type visit struct {
	inst instance
	zone listed
	last observation
	read bool
}

// visits says which zones have to be read: those whose serial number or plan changed, and,
// in turn, those of which only the serial number says that they did not: an application can
// set that number back, but not the server's count of changes.
func (b *backend) visits(instances []instance, zones map[string]listed, changes int64) []visit {
	var all []visit
	var doubtful []int
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.seen, func(account string, _ observation) bool { return zones[account].Name == "" })
	for _, inst := range instances {
		z, ok := zones[b.names.account(inst.Name)]
		if !ok {
			continue
		}
		last := b.seen[z.Account]
		changed := last.serial != z.Serial || last.records != inst.Plan.Records || last.minTTL != inst.Plan.MinTTL
		if !changed && (last.changes != changes || time.Since(last.at) > maxAge) {
			doubtful = append(doubtful, len(all))
		}
		last.changes = changes
		all = append(all, visit{inst, z, last, changed})
	}
	slices.SortStableFunc(doubtful, func(i, j int) int { return all[i].last.at.Compare(all[j].last.at) })
	for _, i := range doubtful[:min(len(doubtful), maxReread)] {
		all[i].read = true
	}
	return all
}

// reconcileZone enforces the limits of one zone.
func (b *backend) reconcileZone(ctx context.Context, v visit) (string, error) {
	inst, z := v.inst, v.zone
	sets, err := b.read(ctx, z.Name)
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return v.last.note, err
	}
	count, low := inspect(z.Name, sets, inst.Plan.MinTTL, len(b.nameserver))
	overQuota := count > inst.Plan.Records
	note := ""
	if overQuota {
		note = fmt.Sprintf("records: %d of %d are in use, so dynamic updates are refused; remove some by an update of the instance that names them without values, or move to a larger plan",
			count, inst.Plan.Records)
	}
	if err := b.setUpdatable(ctx, z.Name, !overQuota); err != nil {
		return note, err
	}
	if !overQuota && len(low) > 0 {
		return note, b.raise(ctx, inst, z.Name, sets, low)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[z.Account] = observation{
		serial: z.Serial, records: inst.Plan.Records, minTTL: inst.Plan.MinTTL,
		note: note, changes: v.last.changes, at: time.Now(),
	}
	return note, nil
}

// largeRecord is the longest value that parameters can have, in characters of a zone file.
const largeRecord = 16 << 10

// inspect counts a zone's records, without the server's own, and returns the sets whose time
// to live is below the plan's. A record longer than largeRecord counts as several.
func inspect(name string, sets zone.Sets, minTTL, nameservers int) (count int, low []zone.Key) {
	for _, key := range sets.Keys() {
		if key == (zone.Key{Name: name, Type: "SOA"}) {
			continue
		}
		size := 0
		for _, value := range sets[key].Values {
			size += 1 + len(value)/largeRecord
		}
		if key == (zone.Key{Name: name, Type: "NS"}) {
			size = max(0, size-nameservers)
		}
		count += size
		if int64(sets[key].TTL) < int64(minTTL) {
			low = append(low, key)
		}
	}
	return count, low
}

// setUpdatable allows or refuses updates of a zone. It leaves the list of keys alone, so that
// it does not interfere with binds.
func (b *backend) setUpdatable(ctx context.Context, zone string, wanted bool) error {
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
		return b.reopen(ctx, zone)
	}
	return b.closeZone(ctx, zone)
}

// reopen allows updates again, unless the zone is closed because its list of keys is incomplete:
// whoever changes the list opens the zone after that.
func (b *backend) reopen(ctx context.Context, zone string) error {
	r, err := b.readRights(ctx, zone)
	if absent(err) {
		return nil
	}
	if err == nil && r.intended != nil {
		err = errors.New("the zone's list of keys is being changed; the next round looks again")
	}
	if err != nil {
		return err
	}
	return b.allowUpdates(ctx, zone)
}
