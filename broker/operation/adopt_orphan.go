package operation

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// orphanName returns the safe name of a resource that this broker made; empty if others made
// it, or the backend cannot list its resources.
func (e *Engine) orphanName(ctx context.Context, tx *store.Tx, d *services.Driver, i store.Instance, resource string) (name string, err error) {
	err = store.HoldLocks(ctx, tx, func(ctx context.Context) error {
		found, err := d.List.OrZero(ctx, services.None{})
		if err != nil {
			return fmt.Errorf("list the backend's resources: %w", err)
		}
		for _, f := range found {
			if f.Binding == "" && f.Name == resource {
				name = f.Instance
			}
		}
		return nil
	})
	if err == nil && name == SafeName(i) {
		return "", notRestorable("%s is the resource of instance %q already", resource, i.ID)
	}
	return name, err
}

// adoptOrphan gives an instance a resource that this broker made and whose owner the state
// has lost. It keeps its name and its data, and the backend changes it to the instance's
// plan and parameters. The instance's own resource, which nobody has used, is removed before
// the state changes: after a crash in between the instance has no resource, and the operator
// repeats the command.
func (e *Engine) adoptOrphan(
	ctx context.Context, tx *store.Tx, d *services.Driver, i store.Instance, plan *catalog.Plan, name string, a Adoption,
) (steps []string, err error) {
	current := RawInstance(i, plan)
	adopted := current
	adopted.Name = name
	if err := e.checkOrphan(ctx, tx, d, i, adopted, a.Resource); err != nil {
		return nil, err
	}
	steps = []string{
		fmt.Sprintf("%s, which belongs to no instance, becomes the resource of this one, under its present name", a.Resource),
		"it is brought to the limits of plan " + plan.Name,
		"the instance's own resource, which nobody has used, is removed",
	}
	if a.DryRun {
		return steps, nil
	}
	err = store.HoldLocks(ctx, tx, func(ctx context.Context) error {
		if _, err := d.Provision(ctx, services.RawProvision{Instance: adopted}); err != nil {
			return fmt.Errorf("bring %s to the plan and parameters of the instance: %w", a.Resource, err)
		}
		if _, err := d.Deprovision(ctx, services.RawDeprovision{Instance: current}); err != nil {
			return fmt.Errorf("remove the instance's own resource (repeat the command to go on): %w", err)
		}
		return nil
	})
	if message, rejected := services.IsRejected(err); rejected {
		return nil, notRestorable("%s", message)
	} else if err != nil {
		return nil, err
	}
	p := resourceOf(i, i.ID, i.ResourceKey())
	p.ResourceName = name
	if err := e.Store.SetInstanceResource(ctx, tx, p); err != nil {
		return nil, err
	}
	return steps, e.auditAdoption(ctx, tx, a, i)
}

// checkOrphan refuses an adoption that would lose data or give a resource to two instances.
func (e *Engine) checkOrphan(ctx context.Context, tx *store.Tx, d *services.Driver, i store.Instance, adopted services.RawInstance, resource string) error {
	named, err := d.ResourceName.OrZero(ctx, adopted)
	if err != nil {
		return err
	}
	if named != "" && named != resource {
		return notRestorable("with the parameters of instance %q the resource would be called %s instead of %s; have an instance created with the parameters of %s",
			i.ID, named, resource, resource)
	}
	audit, err := e.Store.AuditOfInstance(ctx, tx, i.ID)
	if err != nil {
		return err
	}
	for _, entry := range audit {
		if entry.Action == store.Action(store.Bind) && entry.At.After(i.CreatedAt) {
			return notRestorable("instance %q was bound before, and what was written to it would be lost; have another one created", i.ID)
		}
	}
	return e.checkUnowned(ctx, tx, adopted.Name, resource)
}

// checkUnowned refuses a resource that an instance owns. Until tx ends, no instance can be
// created under the name.
func (e *Engine) checkUnowned(ctx context.Context, tx *store.Tx, name, resource string) error {
	if err := e.Store.LockOrphan(ctx, tx, name); err != nil {
		return fmt.Errorf("lock the name of %s: %w", resource, err)
	}
	const batch = 1000
	for after := ""; ; {
		rows, err := e.Store.ListInstances(ctx, tx, store.ListInstancesParams{After: after, Batch: batch})
		if err != nil {
			return fmt.Errorf("read the instances: %w", err)
		}
		for _, row := range rows {
			if SafeName(row) == name {
				return notRestorable("%s belongs to instance %q", resource, row.ID)
			}
		}
		if len(rows) < batch {
			return nil
		}
		after = rows[len(rows)-1].ID
	}
}
