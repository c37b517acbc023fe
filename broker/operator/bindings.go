package operator

import (
	"context"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Binding is a service binding with the path of its credentials, and never the credentials.
type Binding struct {
	store.Binding
	// Name is part of the names of all that the backend made for the binding, such as
	// its login. Only Binding returns it.
	Name        string `json:"name,omitempty"`
	Credentials string `json:"credentials_path"`
}

func newBinding(b store.Binding) Binding {
	return Binding{Binding: b, Credentials: credhub.CredentialsPath(b.InstanceID, b.ID).String()}
}

// Bindings lists the bindings that the filter selects, by ID.
func (o *Operator) Bindings(ctx context.Context, f Filter) ([]Binding, error) {
	q, err := o.query(f, BindingStatuses())
	if err != nil {
		return nil, err
	}
	rows, err := o.bindings(ctx, q)
	return convert(rows, newBinding), err
}

func (o *Operator) bindings(ctx context.Context, q query) ([]store.Binding, error) {
	return pages("", q.Limit, func(after string, batch int32) ([]store.Binding, error) {
		return o.Store.ListBindings(ctx, o.Store.Pool, store.ListBindingsParams{
			After: after, Platform: q.Platform, InstanceID: q.Instance, ServiceIds: q.serviceIDs, PlanIds: q.planIDs, Status: q.Status,
			OfInstance: q.ofInstance(), OrganizationID: q.Organization, SpaceID: q.Space, Backend: q.backend, Server: q.server, Batch: batch,
		})
	}, func(b store.Binding) string { return b.ID })
}

// Binding returns a binding with its name in the backend.
func (o *Operator) Binding(ctx context.Context, id string) (Binding, error) {
	b, err := o.Store.Binding(ctx, o.Store.Pool, id)
	if err != nil {
		return Binding{}, found(err, "binding", id)
	}
	i, err := o.Store.Instance(ctx, o.Store.Pool, b.InstanceID)
	if err != nil {
		return Binding{}, err
	}
	r := newBinding(b)
	r.Name = services.BindingName(i.ResourceKey(), b.ID)
	return r, nil
}
