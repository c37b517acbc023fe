package powerdns

import (
	"context"
	"fmt"
	"net/http"
	"time"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
)

// retry is how long to wait for another zone that is being made, or for a busy server.
const retry = time.Second

// Timers of the zones' SOA records in seconds: refresh, retry and expire as RIPE-203
// recommends for small zones. Negative answers live for a minute, so that a client that
// asks too early finds a new name soon.
const (
	soaTimers   = "10800 3600 604800"
	negativeTTL = 60
	apexTTL     = 3600
)

// Provision implements services.Backend. The zone is made under a mark that
// makes it unusable, and finished once no other zone conflicts. Of two users who ask for
// nested names at once, the later one sees the other's mark; if both do, the instance
// with the later name yields.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	if err := b.CheckInstance(r.Instance); err != nil {
		return services.ProvisionResult{}, err
	}
	zones, err := b.zones(ctx, "")
	if err != nil {
		return services.ProvisionResult{}, err
	}
	for _, z := range zones {
		switch z.account {
		case b.names.account(r.Instance.Name):
			return services.ProvisionResult{}, nil
		case b.names.unfinished(r.Instance.Name):
			if err := b.deleteZone(ctx, z.name); err != nil { // a crash left it half-made
				return services.ProvisionResult{}, err
			}
		}
	}
	name := zoneName(r.Instance)
	parent, _ := r.Instance.Plan.parentOf(name)
	if _, err := b.conflict(ctx, zones, r.Instance.Name, name, parent); err != nil {
		return services.ProvisionResult{}, err
	}
	if err := b.create(ctx, r.Instance, name); err != nil {
		return services.ProvisionResult{}, err
	}
	if err := b.stillAlone(ctx, r.Instance.Name, name, parent); err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.finish(ctx, r.Instance.Name, name)
}

func (b *backend) create(ctx context.Context, inst instance, name string) error {
	sets, err := parseRecords(inst.Plan, name, inst.Params.Records)
	if err != nil {
		return err
	}
	kind := pdns.NativeZoneKind
	if b.config.Kind == kindPrimary {
		kind = pdns.MasterZoneKind
	}
	z := &pdns.Zone{
		Name: pdns.String(name), Kind: &kind, Account: pdns.String(b.names.unfinished(inst.Name)),
		DNSsec: pdns.Bool(inst.Plan.DNSSEC), APIRectify: pdns.Bool(true), SOAEditAPI: pdns.String("DEFAULT"),
	}
	soa := fmt.Sprintf("%s %s 1 %s %d", b.nameserver[0], b.hostmaster(name), soaTimers, negativeTTL)
	z.RRsets = append(z.RRsets,
		replacement(setKey{name, "SOA"}, recordSet{apexTTL, []string{soa}}),
		replacement(setKey{name, "NS"}, recordSet{apexTTL, b.nameserver}))
	for _, key := range sets.keys() {
		if set := sets[key]; len(set.values) > 0 {
			z.RRsets = append(z.RRsets, replacement(key, set))
		}
	}
	_, err = b.api.Zones.Add(ctx, z)
	if answered(err) == http.StatusConflict { // another operation was faster; the next call shows whose
		return services.NotYet(retry, "another zone of this name is being made")
	}
	return refusedRecords("make the zone", err)
}

// stillAlone looks again, now that others see the zone, and deletes it if another one was
// made meanwhile.
func (b *backend) stillAlone(ctx context.Context, instance, name, parent string) error {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return err
	}
	rivals, conflict := b.conflict(ctx, zones, instance, name, parent)
	if conflict != nil {
		if err := b.deleteZone(ctx, name); err != nil {
			return err
		}
		return conflict
	}
	if rivals { // one of them may have looked before this zone existed, and be about to finish
		return services.NotYet(retry, "another zone around this name is being made")
	}
	return nil
}

// finish opens the zone to the keys that it lists, and makes it the instance's. The list is
// never empty: that would allow everybody.
func (b *backend) finish(ctx context.Context, instance, name string) error {
	if err := b.setUpdaters(ctx, name, []string{b.names.keeper(instance)}); err != nil {
		return err
	}
	if err := b.allowUpdates(ctx, name); err != nil {
		return err
	}
	err := b.api.Zones.Change(ctx, name, &pdns.Zone{Account: pdns.String(b.names.account(instance))})
	return explain("hand the zone over", err)
}

// allowUpdates allows updates with a key of the zone's list from any address.
func (b *backend) allowUpdates(ctx context.Context, zone string) error {
	_, err := b.api.Metadata.Set(ctx, zone, pdns.MetadataAllowDNSUpdateFrom, []string{"0.0.0.0/0", "::/0"})
	return explain("allow updates of the zone", err)
}

func (b *backend) deleteZone(ctx context.Context, name string) error {
	return explain("delete the zone", unlessAbsent(b.api.Zones.Delete(ctx, name)))
}
