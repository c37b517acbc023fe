package designate

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/dns/v2/zones"

	"github.com/chandler-broker/chandler/services/openstack"
)

// The states of zones and record sets. Designate retries those in error by itself.
const (
	statusActive = "ACTIVE"
	statusError  = "ERROR"
	actionCreate = "CREATE"
	actionDelete = "DELETE"
)

// pageSize is Designate's usual maximum. It may answer with less.
const pageSize = 1000

// list reads a list to its end. It does not follow the links to next pages: they lead to where
// Designate believes to be, and the token does not belong there.
func list[T any](ctx context.Context, client *gophercloud.ServiceClient, address, key string, id func(T) string) ([]T, error) {
	var all []T
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for {
		var answer map[string]json.RawMessage
		if err := openstack.Call(ctx, client, http.MethodGet, address+"?"+query.Encode(), nil, &answer); err != nil {
			return nil, err
		}
		var page []T
		var links struct{ Next string }
		if err := errors.Join(json.Unmarshal(answer[key], &page), json.Unmarshal(answer["links"], &links)); err != nil {
			return nil, errors.New("Designate's answer is not a list of " + key) //nolint:staticcheck // a name
		}
		all = append(all, page...)
		if links.Next == "" || len(page) == 0 {
			return all, nil
		}
		query.Set("marker", id(page[len(page)-1]))
	}
}

// listZones returns the zones of the client's project.
func listZones(ctx context.Context, client *gophercloud.ServiceClient) ([]zones.Zone, error) {
	all, err := list(ctx, client, client.ServiceURL("zones"), "zones", func(z zones.Zone) string { return z.ID })
	return all, explain("list zones", err)
}

// findZone returns the project's zone that is not being deleted, or errNoZone. It prefers the one
// of this name: an operator may have changed the plan's parents since.
func findZone(ctx context.Context, client *gophercloud.ServiceClient, name string) (zones.Zone, error) {
	all, err := listZones(ctx, client)
	if err != nil {
		return zones.Zone{}, err
	}
	all = slices.DeleteFunc(all, func(z zones.Zone) bool { return z.Action == actionDelete })
	if len(all) == 0 {
		return zones.Zone{}, errNoZone
	}
	return all[max(0, slices.IndexFunc(all, func(z zones.Zone) bool { return z.Name == name }))], nil
}

// nameservers returns the zone's name servers, the primary first, without final dots.
func nameservers(ctx context.Context, client *gophercloud.ServiceClient, zoneID string) ([]any, error) {
	var answer struct{ Nameservers []struct{ Hostname string } }
	if err := openstack.Call(ctx, client, http.MethodGet, client.ServiceURL("zones", zoneID, "nameservers"), nil, &answer); err != nil {
		return nil, explain("read the zone's name servers", err)
	}
	if len(answer.Nameservers) == 0 {
		return nil, errors.New("Designate's pool has no name servers: set ns_records in pools.yaml") //nolint:staticcheck // a name
	}
	var names []any
	for _, n := range answer.Nameservers {
		names = append(names, withoutDot(n.Hostname))
	}
	return names, nil
}

// recordsLimit returns Designate's quota of records in a zone of the client's project.
func recordsLimit(ctx context.Context, client *gophercloud.ServiceClient) (int, error) {
	var limits struct {
		Records int `json:"max_zone_records"`
	}
	err := openstack.Call(ctx, client, http.MethodGet, client.ServiceURL("limits"), nil, &limits)
	return limits.Records, explain("read Designate's limits", err)
}
