package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// BackupRestore restores one backup into one instance, whose own data it replaces.
type BackupRestore struct {
	// Backup is its ID, or its name in the store.
	Backup string
	// InstanceID is the instance's: one that its server has lost, or that nobody has bound yet.
	InstanceID string
	// Overwrite replaces the data of an instance that its server has and that was bound.
	Overwrite bool
	// OtherTenant allows the instance to be in another space or namespace, organization or
	// platform than the one that was copied.
	OtherTenant bool
}

// RestoreBackup restores a backup into an instance that exists, under the instance's own name and
// with its own bindings, and waits for the result. A running broker does the work.
func (o *Operator) RestoreBackup(ctx context.Context, by Actor, r BackupRestore) (result RecoveredInstance, err error) {
	b, err := o.Backup(ctx, r.Backup)
	if err != nil {
		return result, err
	}
	i, err := o.Store.Instance(ctx, o.Store.Pool, r.InstanceID)
	if err != nil {
		return result, found(err, "instance", r.InstanceID)
	}
	if !r.OtherTenant && !isOfTenant(i, b.Backup) {
		return result, errors.New("the instance is of another tenant than the backup, who would get its data; confirm with --other-tenant")
	}
	row := o.newInstance(i)
	to, err := o.serverOf("into", row.Server)
	if err != nil {
		return result, err
	}
	if err := o.replaceable(ctx, i, to, r.Overwrite); err != nil {
		return result, err
	}
	op, err := o.accept(ctx, by, recoveryOf{i.ID, &b.Backup, to, to.Key()})
	if err != nil {
		return result, err
	}
	result = RecoveredInstance{InstanceID: i.ID, Service: row.Service, Plan: row.Plan, Server: to.Key(), Outcome: InstanceFailed}
	return o.await(ctx, result, op.ID), nil
}

func isOfTenant(i store.Instance, b store.Backup) bool {
	n := operation.NamespaceOf(i)
	return i.Platform == b.Platform && i.OrganizationID == b.OrganizationID && i.SpaceID == b.SpaceID && n.Namespace == b.Namespace && n.ClusterID == b.ClusterID
}

// replaceable refuses to replace data that somebody may have written.
func (o *Operator) replaceable(ctx context.Context, i store.Instance, on catalog.Server, overwrite bool) error {
	present, err := o.instancesOn(ctx, on.Key())
	if err != nil {
		return fmt.Errorf("server %s does not answer: %w", on.Key(), err)
	}
	if overwrite || !present[operation.SafeName(i)] {
		return nil
	}
	audit, err := o.Store.AuditOfInstance(ctx, o.Store.Pool, i.ID)
	if err != nil {
		return err
	}
	for _, entry := range audit {
		if entry.Action == store.Action(store.Bind) && entry.At.After(i.CreatedAt) {
			return fmt.Errorf("server %s has instance %q, and applications were bound to it: their data would be lost; "+
				"have a new instance created, or confirm with --overwrite", on.Key(), i.ID)
		}
	}
	return nil
}
