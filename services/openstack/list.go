package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
)

// entity is a project, user, role or domain in a list of Keystone.
type entity struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  bool   `json:"enabled"`
	// Description is a project's.
	Description string `json:"description"`
	// Tags are a project's.
	Tags []string `json:"tags"`
}

// maxPages ends a list whose pages lead in a circle.
const maxPages = 1000

// list returns the whole of a list of Keystone. Most versions of Keystone answer with everything
// at once; others link to the next page.
func list(ctx context.Context, keystone *gophercloud.ServiceClient, key, first string) ([]entity, error) {
	var all []entity
	next := first
	for range maxPages {
		var answer map[string]json.RawMessage
		if err := Call(ctx, keystone, http.MethodGet, next, nil, &answer); err != nil {
			return nil, err
		}
		var page []entity
		if err := json.Unmarshal(answer[key], &page); err != nil {
			return nil, fmt.Errorf("%s answers a list without %s", keystoneName, key)
		}
		all = append(all, page...)
		var links struct{ Next string }
		_ = json.Unmarshal(answer["links"], &links) // null, if there is no next page
		switch {
		case links.Next != "":
			// A proxy may have hidden Keystone's address, and the token belongs only there.
			next = continued(first, links.Next)
		case string(answer["truncated"]) == "true":
			return nil, fmt.Errorf("%s cuts the list of %s off: raise list_limit in keystone.conf", keystoneName, key)
		default:
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s answers more than %d pages of %s", keystoneName, maxPages, key)
}

// continued is the first page's address with the query of the next one's.
func continued(first, next string) string {
	a, err := url.Parse(first)
	b, err2 := url.Parse(next)
	if err != nil || err2 != nil {
		return first
	}
	a.RawQuery = b.RawQuery
	return a.String()
}

// listed returns a list of the broker's domain, whose names begin with a prefix.
func (c *Cloud) listed(ctx context.Context, key, prefix string) ([]entity, error) {
	return c.find(ctx, key, url.Values{"name__startswith": {prefix}})
}

// find returns what a query finds in the broker's domain.
func (c *Cloud) find(ctx context.Context, key string, query url.Values) ([]entity, error) {
	keystone, err := c.domain.keystone(ctx)
	if err != nil {
		return nil, err
	}
	_, domain, err := c.domain.identities(ctx)
	if err != nil {
		return nil, err
	}
	query.Set("domain_id", domain)
	return list(ctx, keystone, key, keystone.ServiceURL(key)+"?"+query.Encode())
}
