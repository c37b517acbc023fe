package openwhisk

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// batch is how many rows are read at a time.
const batch = 1000

// List implements services.Lister.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	found, err := b.namespaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the namespaces: %w", err)
	}
	keys, err := b.keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the keys: %w", err)
	}
	return append(found, keys...), nil
}

func (b *backend) namespaces(ctx context.Context) (found []services.Resource, err error) {
	after := ""
	for {
		rows, err := b.store.Namespaces(ctx, b.store.Pool, state.NamespacesParams{After: after, Batch: batch})
		if err != nil || len(rows) == 0 {
			return found, err
		}
		for _, r := range rows {
			found = append(found, services.Resource{Instance: r.Name, Name: namespaceResource(r.Name)})
			after = r.Name
		}
	}
}

func (b *backend) keys(ctx context.Context) (found []services.Resource, err error) {
	after := ""
	for {
		rows, err := b.store.Bindings(ctx, b.store.Pool, state.BindingsParams{After: after, Batch: batch})
		if err != nil || len(rows) == 0 {
			return found, err
		}
		for _, r := range rows {
			found = append(found, services.Resource{Instance: r.Namespace, Binding: r.Binding, Name: "key " + r.Uuid.String()})
			after = r.Binding
		}
	}
}

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return namespaceResource(inst.Name) }

func namespaceResource(name string) string { return "namespace " + name }
