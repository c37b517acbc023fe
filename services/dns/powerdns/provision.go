package powerdns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

// retry is the wait for another zone that is being made, or for a busy server.
const retry = time.Second

// Timers of SOA records in seconds: refresh, retry and expire as RIPE-203 recommends for small
// zones, and a minute for negative answers, so that new names are found soon.
const (
	soaTimers   = "10800 3600 604800"
	negativeTTL = 60
	apexTTL     = 3600
)

// Provision implements services.Backend. It makes the zone under a mark that makes it
// unusable, and finishes it once no other zone conflicts. Of two users who ask for nested
// names at once, the later one sees the other's mark; if both do, the instance with the
// later name yields.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	if err := b.CheckInstance(r.Instance); err != nil {
		return services.ProvisionResult{}, err
	}
	zones, err := b.zones(ctx, "")
	if err != nil {
		return services.ProvisionResult{}, err
	}
	for _, z := range zones {
		switch z.Account {
		case b.names.account(r.Instance.Name):
			return services.ProvisionResult{}, nil
		case b.names.unfinished(r.Instance.Name):
			if err := b.deleteZone(ctx, z.Name); err != nil { // a crash left it half-made
				return services.ProvisionResult{}, err
			}
		}
	}
	name := zoneName(r.Instance)
	parent, _ := r.Instance.Plan.ParentOf(name)
	if _, err := b.conflict(ctx, zones, r.Instance.Name, name, parent); err != nil {
		return services.ProvisionResult{}, err
	}
	if err := b.create(ctx, r.Instance, name); err != nil {
		return services.ProvisionResult{}, err
	}
	if err := b.checkStillAlone(ctx, r.Instance.Name, name, parent); err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.finish(ctx, r.Instance.Name, name)
}

func (b *backend) create(ctx context.Context, inst instance, name string) error {
	sets, err := zone.Parse(inst.Plan.Plan, name, inst.Params.Records)
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
		replacement(zone.Key{Name: name, Type: "SOA"}, zone.Set{TTL: apexTTL, Values: []string{soa}}),
		replacement(zone.Key{Name: name, Type: "NS"}, zone.Set{TTL: apexTTL, Values: b.nameserver}))
	for _, key := range sets.Keys() {
		if set := sets[key]; len(set.Values) > 0 {
			z.RRsets = append(z.RRsets, replacement(key, set))
		}
	}
	_, err = b.api.Zones.Add(ctx, z)
	if answered(err) == http.StatusConflict { // another operation was faster; the next call shows whose
		return services.NotYet(retry, "another zone of this name is being made")
	}
	return refusedRecords("make the zone", err)
}

// checkStillAlone deletes the zone, which others see now, if another one was made meanwhile.
func (b *backend) checkStillAlone(ctx context.Context, instance, name, parent string) error {
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
// never empty, which would allow everybody.
func (b *backend) finish(ctx context.Context, instance, name string) error {
	if err := b.setUpdaters(ctx, name, []string{b.names.enforcementKey(instance)}); err != nil {
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

// Update implements services.Backend. It writes only the sets that differ, all in one call,
// with the values that applications added to them. A change that an application makes to
// one of these sets at that moment is lost: the API can only write whole sets.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	z, err := b.find(ctx, r.Instance.Name, zoneName(r.Previous), zoneName(r.Instance))
	if err != nil {
		return services.UpdateResult{}, err
	}
	if r.Previous.Plan.DNSSEC != r.Instance.Plan.DNSSEC {
		if err := b.sign(ctx, z.Name, r.Instance.Plan.DNSSEC); err != nil {
			return services.UpdateResult{}, err
		}
	}
	was, err := zone.Parse(r.Previous.Plan.Plan, z.Name, r.Previous.Params.Records)
	if err != nil {
		return services.UpdateResult{}, err
	}
	is, err := zone.Parse(r.Instance.Plan.Plan, z.Name, r.Instance.Params.Records)
	if err != nil {
		return services.UpdateResult{}, err
	}
	if len(zone.Differ(was, is)) == 0 {
		return services.UpdateResult{}, nil
	}
	existing, err := b.read(ctx, z.Name)
	if err != nil {
		return services.UpdateResult{}, err
	}
	var sets []pdns.RRset
	for _, c := range zone.Changes(was, is, existing) {
		sets = append(sets, replacement(c.Key, c.Set))
	}
	return services.UpdateResult{}, refusedRecords("change records", b.api.Records.Patch(ctx, z.Name, &pdns.RRsets{Sets: sets}))
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
