package openstack

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// inCatalog returns the service's URL in the catalog that came with a token. The catalog of a
// token that is not a project's lacks the URLs that contain a project's ID.
func (c *Cloud) inCatalog(result tokens.CreateResult) (string, error) {
	catalog, err := result.ExtractServiceCatalog()
	if err != nil {
		return "", err
	}
	for _, kind := range c.service.Types {
		for _, entry := range catalog.Entries {
			if entry.Type == kind {
				return c.choose(entry)
			}
		}
	}
	var types []string
	for _, entry := range catalog.Entries {
		types = append(types, entry.Type)
	}
	slices.Sort(types)
	return "", fmt.Errorf("Keystone's catalog has no service of type %s, only %s: register %s there", //nolint:staticcheck // a name
		strings.Join(c.service.Types, " or "), strings.Join(types, ", "), c.service.Name)
}

// choose returns the URL of the configured interface and region.
func (c *Cloud) choose(entry tokens.CatalogEntry) (string, error) {
	var found, regions, others []string
	for _, e := range entry.Endpoints {
		switch {
		case e.Interface != c.config.Interface:
		case c.config.Region != "" && e.Region != c.config.Region && e.RegionID != c.config.Region:
			others = append(others, e.Region)
		default:
			found, regions = append(found, e.URL), append(regions, e.Region)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("region: is missing: Keystone's catalog has %s in %s", c.service.Name, strings.Join(regions, ", "))
	case len(others) > 0:
		return "", fmt.Errorf("region: Keystone's catalog has no %s in %s, only in %s", c.service.Name, c.config.Region, strings.Join(others, ", "))
	}
	return "", &noEndpoint{c.service.Name, c.config.Interface}
}

// noEndpoint is the error for a service whose endpoints the catalog does not show.
type noEndpoint struct{ service, kind string }

func (e *noEndpoint) Error() string {
	return fmt.Sprintf("interface: Keystone's catalog has no %s endpoint of %s", e.kind, e.service)
}
