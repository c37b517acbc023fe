package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
)

// sharedBackend is the backend as the tests that all object stores share see it: with plans
// without snapshots.
type sharedBackend struct{ *backend }

var _ objecttest.Streamer = sharedBackend{}

type noParams = objectstore.InstanceParams

// shared is an instance without what is this backend's own, and own the reverse.
func shared(i instance) objecttest.Instance {
	return objecttest.Instance{ID: i.ID, Name: i.Name, Plan: i.Plan.Plan}
}

func own(i objecttest.Instance) instance {
	return instance{ID: i.ID, Name: i.Name, Plan: Plan{Plan: i.Plan}}
}

func (s sharedBackend) Provision(ctx context.Context, r services.ProvisionRequest[objectstore.Plan, noParams]) (services.ProvisionResult, error) {
	return s.backend.Provision(ctx, services.ProvisionRequest[Plan, InstanceParams]{Instance: own(r.Instance)})
}

func (s sharedBackend) Update(ctx context.Context, r services.UpdateRequest[objectstore.Plan, noParams]) (services.UpdateResult, error) {
	return s.backend.Update(ctx, services.UpdateRequest[Plan, InstanceParams]{Previous: own(r.Previous), Instance: own(r.Instance)})
}

func (s sharedBackend) Deprovision(ctx context.Context, r services.DeprovisionRequest[objectstore.Plan, noParams]) (services.DeprovisionResult, error) {
	return s.backend.Deprovision(ctx, services.DeprovisionRequest[Plan, InstanceParams]{Instance: own(r.Instance)})
}

func (s sharedBackend) Bind(ctx context.Context, r services.BindRequest[objectstore.Plan, noParams, BindingParams]) (services.BindResult, error) {
	return s.backend.Bind(ctx, services.BindRequest[Plan, InstanceParams, BindingParams]{Instance: own(r.Instance), Binding: r.Binding})
}

func (s sharedBackend) Unbind(ctx context.Context, r services.UnbindRequest[objectstore.Plan, noParams, BindingParams]) (services.UnbindResult, error) {
	return s.backend.Unbind(ctx, services.UnbindRequest[Plan, InstanceParams, BindingParams]{Instance: own(r.Instance), Binding: r.Binding})
}

func (s sharedBackend) Reconcile(ctx context.Context, r services.ReconcileRequest[objectstore.Plan, noParams]) (services.ReconcileResult, error) {
	var request services.ReconcileRequest[Plan, InstanceParams]
	for _, i := range r.Instances {
		request.Instances = append(request.Instances, own(i))
	}
	return s.backend.Reconcile(ctx, request)
}

func (s sharedBackend) Backup(ctx context.Context, r services.BackupRequest[objectstore.Plan, noParams]) (services.Contents, error) {
	return s.backend.Backup(ctx, services.BackupRequest[Plan, InstanceParams]{Instance: own(r.Instance), Writer: r.Writer, Base: r.Base})
}

func (s sharedBackend) Restore(ctx context.Context, r services.RestoreRequest[objectstore.Plan, noParams]) (services.RestoreResult, error) {
	return s.backend.Restore(ctx, services.RestoreRequest[Plan, InstanceParams]{Instance: own(r.Instance), Contents: r.Contents, Bases: r.Bases, Reader: r.Reader})
}
