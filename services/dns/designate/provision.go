package designate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Provision implements services.Backend.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	sets, err := zone.Parse(r.Instance.Plan, zoneName(r.Instance), r.Instance.Params.Records)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	p, err := b.cloud.EnsureProject(ctx, r.Instance.Name)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	client, err := b.client(ctx, p)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	z, err := b.ensureZone(ctx, client, r.Instance, len(sets) > 0)
	if _, rejected := services.IsRejected(err); rejected {
		return services.ProvisionResult{}, errors.Join(err, b.cloud.SetMark(ctx, &p, openstack.Emptied))
	}
	if err != nil {
		return services.ProvisionResult{}, err
	}
	if z.Description == unfinished {
		if err := converge(ctx, client, z, nil, sets); err != nil {
			return services.ProvisionResult{}, err
		}
		if z, err = finish(ctx, client, z.ID); err != nil {
			return services.ProvisionResult{}, err
		}
	}
	return services.ProvisionResult{}, awaitZone(z)
}

// A zone's description shows whether it has its first records: later on, applications may have
// changed them. Bindings cannot change it.
const (
	unfinished = "made by Chandler, unfinished"
	finished   = "made by Chandler"
)

func finish(ctx context.Context, client *gophercloud.ServiceClient, zoneID string) (zones.Zone, error) {
	description := finished
	z, err := zones.Update(ctx, client, zoneID, zones.UpdateOpts{Description: &description}).Extract()
	if err != nil {
		return zones.Zone{}, explain("finish the zone", err)
	}
	return *z, nil
}

// ensureZone returns the instance's zone. Names of zones are unique in the cloud, so one that
// exists already in the project is the instance's.
func (b *backend) ensureZone(ctx context.Context, client *gophercloud.ServiceClient, inst instance, records bool) (zones.Zone, error) {
	name, description := zoneName(inst), finished
	if records {
		description = unfinished
	}
	if z, found, err := ownZone(ctx, client, name); found || err != nil {
		return z, err
	}
	z, err := zones.Create(ctx, client, zones.CreateOpts{
		Name: name, Email: b.hostmaster(name), TTL: inst.Plan.DefaultTTL, Description: description,
	}).Extract()
	if openstack.Conflict(err) { // perhaps with an earlier attempt that was abandoned
		if z, found, err := ownZone(ctx, client, name); found || err != nil {
			return z, err
		}
	}
	if err != nil {
		return zones.Zone{}, refusedZone(withoutDot(name), err)
	}
	return *z, nil
}

// ownZone looks for a zone of this name in the client's project.
func ownZone(ctx context.Context, client *gophercloud.ServiceClient, name string) (z zones.Zone, found bool, err error) {
	all, err := listZones(ctx, client)
	if err != nil {
		return zones.Zone{}, false, err
	}
	i := slices.IndexFunc(all, func(z zones.Zone) bool { return z.Name == name })
	if i < 0 {
		return zones.Zone{}, false, nil
	}
	if all[i].Action == actionDelete {
		return zones.Zone{}, false, services.NotYet(retry, "Designate is deleting the zone that was there before")
	}
	return all[i], true, nil
}

// hostmaster is the mail address in a zone's SOA record.
func (b *backend) hostmaster(name string) string {
	if b.config.Hostmaster != "" {
		return b.config.Hostmaster
	}
	return "hostmaster@" + withoutDot(name)
}

// awaitZone returns nil if name servers have the zone. One in error is not lost: Designate tries
// again by itself.
func awaitZone(z zones.Zone) error {
	switch {
	case z.Action != actionCreate:
		return nil
	case z.Status == statusError:
		return services.NotYet(retryError, "Designate could not send the zone to its name servers yet, and tries again")
	case z.Status != statusActive:
		return services.NotYet(retry, "Designate is sending the zone to its name servers")
	}
	return nil
}

// Update implements services.Backend. It writes only the sets that differ, with the values that
// applications added to them.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	_, client, err := b.enter(ctx, r.Instance.Name)
	if err != nil {
		return services.UpdateResult{}, err
	}
	z, err := findZone(ctx, client, zoneName(r.Previous))
	if err != nil {
		return services.UpdateResult{}, err
	}
	was, err := zone.Parse(r.Previous.Plan, strings.ToLower(z.Name), r.Previous.Params.Records)
	if err != nil {
		return services.UpdateResult{}, err
	}
	is, err := zone.Parse(r.Instance.Plan, strings.ToLower(z.Name), r.Instance.Params.Records)
	if err != nil || len(zone.Differ(was, is)) == 0 {
		return services.UpdateResult{}, err
	}
	return services.UpdateResult{}, converge(ctx, client, z, was, is)
}
