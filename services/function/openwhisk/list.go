package openwhisk

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// List implements services.Lister.
func (b *backend) List(ctx context.Context) (found []services.Resource, err error) {
	for _, what := range []string{"namespaces", "keys"} {
		for after := ""; ; {
			var p page
			query := url.Values{"limit": {"1000"}, "after": {after}}
			if err := b.api.call(ctx, http.MethodGet, what+"?"+query.Encode(), nil, &p); err != nil {
				return nil, fmt.Errorf("list the %s: %w", what, err)
			}
			for _, n := range p.Namespaces {
				found = append(found, services.Resource{Instance: n.Name, Name: namespaceResource(n.Name)})
			}
			for _, k := range p.Keys {
				found = append(found, services.Resource{Instance: k.Namespace, Binding: k.Name, Name: "key " + k.ID})
			}
			if after = p.Next; after == "" {
				break
			}
		}
	}
	return found, nil
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return namespaceResource(inst.Name) }

func namespaceResource(name string) string { return "namespace " + name }
