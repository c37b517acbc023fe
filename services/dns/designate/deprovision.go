package designate

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Deprovision implements services.Backend. It first ends the bindings, whose holders could write
// while the zone goes, and waits until Designate has deleted every zone of the project.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	if err := b.cloud.DeleteUsers(ctx, r.Instance.Name); err != nil {
		return services.DeprovisionResult{}, err
	}
	p, client, err := b.enter(ctx, r.Instance.Name)
	if errors.Is(err, openstack.ErrNoProject) {
		return services.DeprovisionResult{}, nil
	}
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	found, err := empty(ctx, client)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.cloud.AwaitLate(ctx, &p, "zone", found); err != nil {
		return services.DeprovisionResult{}, err
	}
	if found {
		return services.DeprovisionResult{}, services.NotYet(retry, "Designate is deleting the zone")
	}
	return services.DeprovisionResult{}, b.cloud.DeleteProject(ctx, p)
}

// empty deletes all zones of a project, those of the deepest names first, because Designate does
// not delete a zone with sub-zones. It reports whether there are any.
func empty(ctx context.Context, client *gophercloud.ServiceClient) (found bool, err error) {
	all, err := listZones(ctx, client)
	if err != nil {
		return false, err
	}
	slices.SortFunc(all, func(a, b zones.Zone) int { return strings.Count(b.Name, ".") - strings.Count(a.Name, ".") })
	for _, z := range all {
		if z.Action == actionDelete && z.Status != statusError {
			continue
		}
		_, err := zones.Delete(ctx, client, z.ID).Extract()
		if f, ok := openstack.AsFailure(err); ok && f.Type == "zone_has_sub_zone" { // which goes first
			continue
		}
		if openstack.UnlessAbsent(err) != nil {
			return true, explain("delete the zone", err)
		}
	}
	return len(all) > 0, nil
}
