package openstack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// place is where the catalog says that a service is.
type place struct{ url, region string }

// inCatalog returns the service's place in the catalog that came with a token. The catalog of a
// token that is not a project's lacks the URLs that contain a project's ID.
func (c *Cloud) inCatalog(result tokens.CreateResult, kind string) (place, error) {
	catalog, err := result.ExtractServiceCatalog()
	if err != nil {
		return place{}, err
	}
	for _, t := range c.service.Types {
		for _, entry := range catalog.Entries {
			if entry.Type == t {
				return c.choose(entry, kind)
			}
		}
	}
	var types []string
	for _, entry := range catalog.Entries {
		types = append(types, entry.Type)
	}
	slices.Sort(types)
	return place{}, fmt.Errorf("Keystone's catalog has no service of type %s, only %s: register %s there", //nolint:staticcheck // a name
		strings.Join(c.service.Types, " or "), strings.Join(types, ", "), c.service.Name)
}

// choose returns the place of this interface and the configured region.
func (c *Cloud) choose(entry tokens.CatalogEntry, kind string) (place, error) {
	var found []place
	var regions, others []string
	for _, e := range entry.Endpoints {
		switch {
		case e.Interface != kind:
		case c.config.Region != "" && e.Region != c.config.Region && e.RegionID != c.config.Region:
			others = append(others, e.Region)
		default:
			found, regions = append(found, place{e.URL, e.Region}), append(regions, e.Region)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return place{}, fmt.Errorf("region: is missing: Keystone's catalog has %s in %s", c.service.Name, strings.Join(regions, ", "))
	case len(others) > 0:
		return place{}, fmt.Errorf("region: Keystone's catalog has no %s in %s, only in %s", c.service.Name, c.config.Region, strings.Join(others, ", "))
	}
	return place{}, &noEndpoint{c.service.Name, kind}
}

// noEndpoint is the error for a service whose endpoints the catalog does not show.
type noEndpoint struct{ service, kind string }

func (e *noEndpoint) Error() string {
	return fmt.Sprintf("interface: Keystone's catalog has no %s endpoint of %s", e.kind, e.service)
}
