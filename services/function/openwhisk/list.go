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
	for after := ""; ; {
		var page namespacePage
		if err := b.page(ctx, "namespaces", after, &page); err != nil {
			return nil, fmt.Errorf("list the namespaces: %w", err)
		}
		for _, n := range page.Namespaces {
			found = append(found, services.Resource{Instance: n.Name, Name: namespaceResource(n.Name)})
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for after := ""; ; {
		var page keyPage
		if err := b.page(ctx, "keys", after, &page); err != nil {
			return nil, fmt.Errorf("list the keys: %w", err)
		}
		for _, k := range page.Keys {
			found = append(found, services.Resource{Instance: k.Namespace, Binding: k.Name, Name: "key " + k.ID})
		}
		if after = page.Next; after == "" {
			return found, nil
		}
	}
}

func (b *backend) page(ctx context.Context, what, after string, page any) error {
	query := url.Values{"limit": {"1000"}}
	if after != "" {
		query.Set("after", after)
	}
	return b.api.call(ctx, http.MethodGet, what+"?"+query.Encode(), nil, page)
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return namespaceResource(inst.Name) }

func namespaceResource(name string) string { return "namespace " + name }
