package designate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

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
	if err := b.awaitLateZone(ctx, &p, found); err != nil {
		return services.DeprovisionResult{}, err
	}
	return services.DeprovisionResult{}, b.cloud.DeleteProject(ctx, p)
}

// The marks of a project that is being emptied.
const (
	// emptied: no zone can appear any more, because one did, or was refused.
	emptied = "an instance that Chandler is deleting"
	// searched begins the mark of a project without a zone, before the time of the search.
	searched = emptied + ", empty at "
	// lateTime is how long a zone may take to appear whose creation was abandoned. A project that
	// is deleted before leaves it to nobody, and its name taken.
	lateTime = 10 * time.Second
)

// awaitLateZone returns nil when no zone can appear in the project any more: its zone was found, or
// none was for a while.
func (b *backend) awaitLateZone(ctx context.Context, p *openstack.Project, found bool) error {
	if found {
		if p.Mark != emptied {
			if err := b.cloud.SetMark(ctx, p, emptied); err != nil {
				return err
			}
		}
		return services.NotYet(retry, "Designate is deleting the zone")
	}
	if p.Mark == emptied {
		return nil
	}
	text, _ := strings.CutPrefix(p.Mark, searched)
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		since = time.Now()
		if err := b.cloud.SetMark(ctx, p, searched+since.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	if rest := lateTime - time.Since(since); rest > 0 {
		return services.NotYet(rest, "waiting for a zone whose creation was abandoned")
	}
	return nil
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
