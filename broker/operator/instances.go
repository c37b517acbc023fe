package operator

import (
	"context"
	"strings"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Instance is a service instance with what the catalog knows about it.
type Instance struct {
	store.Instance
	// Service and Plan are names if the catalog has them, and IDs otherwise.
	Service string `json:"service"`
	Plan    string `json:"plan"`
	// Server is the server's key: backend, or backend/server.
	Server string `json:"server"`
	// Resource is the resource's name on the server, if the backends are open.
	Resource string `json:"resource,omitempty"`
	// PlanVersion is the plan's maintenance version if the instance's differs: the platform
	// may upgrade the instance.
	PlanVersion string `json:"plan_maintenance_version,omitempty"`
}

func (o *Operator) newInstance(i store.Instance) Instance {
	r := Instance{Instance: i, Service: i.ServiceID, Plan: i.PlanID, Server: i.Server}
	if p, ok := o.Catalog.Plan(i.ServiceID, i.PlanID); ok {
		r.Service, r.Plan, r.Server = p.Service.Name, p.Name, catalog.ServerKey(p.Backend, i.Server)
		r.Resource = o.resourceName(i, p)
		if p.MaintenanceVersion != i.MaintenanceVersion {
			r.PlanVersion = p.MaintenanceVersion
		}
	}
	if i.Backend != "" {
		r.Server = catalog.ServerKey(i.Backend, i.Server)
	}
	return r
}

// resourceName is the instance's name on its server; empty if the backend is not open
// or cannot tell.
func (o *Operator) resourceName(i store.Instance, p *catalog.Plan) string {
	d, ok := o.Drivers[catalog.ServerKey(p.Backend, i.Server)]
	if !ok || p.CheckBackend(i.Backend, i.BackendType) != nil {
		return ""
	}
	name, _ := d.ResourceName.OrZero(context.Background(), operation.RawInstance(i, p)) // a panic is no reason to fail the list
	return name
}

// Instances lists the instances that the filter selects, by ID.
func (o *Operator) Instances(ctx context.Context, f Filter) ([]Instance, error) {
	q, err := o.query(f, InstanceStatuses())
	if err != nil {
		return nil, err
	}
	if f.Resource != "" || f.Behind { // the database cannot select by these
		q.Limit = 0
	}
	all, err := o.instances(ctx, q)
	if err != nil {
		return nil, err
	}
	rows := []Instance{}
	for _, i := range all {
		r := o.newInstance(i)
		named := f.Resource == "" || f.Resource == r.Resource || strings.Contains(f.Resource, operation.SafeName(i))
		if named && (!f.Behind || r.PlanVersion != "") && (f.Limit == 0 || len(rows) < f.Limit) {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (o *Operator) instances(ctx context.Context, q query) ([]store.Instance, error) {
	return pages("", q.Limit, func(after string, batch int32) ([]store.Instance, error) {
		return o.Store.ListInstances(ctx, o.Store.Pool, store.ListInstancesParams{
			After: after, Platform: q.Platform, OrganizationID: q.Organization, SpaceID: q.Space, ServiceIds: q.serviceIDs, PlanIds: q.planIDs,
			Backend: q.backend, Server: q.server, Status: q.Status, WithCondition: q.Condition, Batch: batch,
		})
	}, func(i store.Instance) string { return i.ID })
}

// InstanceDetails is an instance with all that the state records about it.
type InstanceDetails struct {
	Instance
	Bindings   []Binding         `json:"bindings"`
	Operations []store.Operation `json:"operations"`
	Audit      []store.Audit     `json:"audit"`
}

// Instance returns an instance. If only the audit record has it, its status is Deleted.
func (o *Operator) Instance(ctx context.Context, id string) (d InstanceDetails, err error) {
	i, err := o.Store.Instance(ctx, o.Store.Pool, id)
	missing := found(err, "instance", id)
	if err != nil && !store.NotFound(err) {
		return d, err
	}
	if d.Instance = (Instance{Instance: store.Instance{ID: id, Status: store.Deleted}}); missing == nil {
		d.Instance = o.newInstance(i)
	}
	bindings, err := o.Store.BindingsOfInstance(ctx, o.Store.Pool, id)
	if err != nil {
		return d, err
	}
	d.Bindings = convert(bindings, newBinding)
	if d.Operations, err = o.Operations(ctx, Filter{Instance: id}); err != nil {
		return d, err
	}
	d.Audit, err = o.Store.AuditOfInstance(ctx, o.Store.Pool, id)
	if err == nil && len(d.Audit) == 0 {
		d.Audit = []store.Audit{} // a list in JSON, too
		return d, missing
	}
	return d, err
}
