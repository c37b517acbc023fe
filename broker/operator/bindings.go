package operator

import (
	"context"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Binding is a service binding as the operator sees it: with the path of its
// credentials, and never the credentials.
type Binding struct {
	ID            string       `json:"id"`
	InstanceID    string       `json:"instance_id"`
	Platform      string       `json:"platform"`
	AppID         string       `json:"app_id,omitempty"`
	PredecessorID string       `json:"predecessor_id,omitempty"`
	Status        store.Status `json:"status"`
	// Name is part of the names of all that the backend made for the binding, such as
	// its login. Only Binding returns it.
	Name        string    `json:"name,omitempty"`
	Credentials string    `json:"credentials_path"`
	CreatedAt   time.Time `json:"created_at"`
	// ExpiresAt is when the broker revokes the binding; nil: never.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

func newBinding(b store.Binding) Binding {
	return Binding{
		ID: b.ID, InstanceID: b.InstanceID, Platform: b.Platform, AppID: b.AppID, PredecessorID: b.PredecessorID, Status: b.Status,
		Credentials: credhub.CredentialsPath(b.InstanceID, b.ID).String(), CreatedAt: b.CreatedAt, ExpiresAt: b.ExpiresAt,
	}
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
