package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chandler-broker/chandler/broker/store"
)

// ErrNotRestorable is the error of Restore, Adopt and Purge, wrapped with the reason, if
// nothing was changed.
var ErrNotRestorable = errors.New("nothing was changed")

func notRestorable(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrNotRestorable)...)
}

// Restoration makes a retained instance available to its platform again.
type Restoration struct {
	// RetainedID is the retained instance's own ID, with its suffix.
	RetainedID string
	// NewID is the instance's ID on the platform from now on: a new one, or that of a
	// ready instance without bindings, whose own resource is replaced by the retained one
	// and deleted.
	NewID       string
	Originating json.RawMessage // for the audit record
}

// Restore restores an instance, or changes nothing.
func (e *Engine) Restore(ctx context.Context, r Restoration) error {
	err := e.Store.InTx(ctx, func(tx *store.Tx) error {
		retained, err := e.retainedInstance(ctx, tx, r.RetainedID)
		if err != nil {
			return err
		}
		target, err := e.Store.InstanceForUpdate(ctx, tx, r.NewID)
		switch {
		case store.NotFound(err):
			err = errors.Join(
				e.Store.RestoreInstance(ctx, tx, store.RestoreInstanceParams{ID: retained.ID, NewID: r.NewID}),
				e.Store.MoveBackups(ctx, tx, store.MoveBackupsParams{ResourceName: SafeName(retained), InstanceID: r.NewID}))
		case err == nil:
			err = e.replace(ctx, tx, target, retained)
		}
		if err != nil {
			return err
		}
		audit := operatorAudit(retained, store.ActionRestore, store.OutcomeRestored, r.Originating)
		renamed := audit
		renamed.InstanceID = r.NewID
		return errors.Join(e.Store.InsertAudit(ctx, tx, audit), e.Store.InsertAudit(ctx, tx, renamed))
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
		return notRestorable("instance %q was created at this moment; try again", r.NewID)
	}
	return err
}

// retainedInstance locks a retained instance whose deletion has not begun.
func (e *Engine) retainedInstance(ctx context.Context, tx *store.Tx, id string) (store.Instance, error) {
	i, err := e.Store.InstanceForUpdate(ctx, tx, id)
	switch {
	case store.NotFound(err):
		return i, notRestorable("no instance %q is retained", id)
	case err != nil:
		return i, err
	case i.RetainedUntil == nil:
		return i, notRestorable("instance %q is not deleted", id)
	case i.Status != store.Retained || !time.Now().Before(*i.RetainedUntil):
		return i, notRestorable("instance %q was retained until %s, and its data is being removed", id, i.RetainedUntil.UTC().Format(time.RFC3339))
	}
	return i, e.checkIdle(ctx, tx, id)
}

func (e *Engine) checkIdle(ctx context.Context, tx *store.Tx, id string) error {
	unfinished, err := e.Store.UnfinishedOperations(ctx, tx, id)
	if err != nil {
		return err
	}
	if len(unfinished) > 0 {
		return notRestorable("operation %s is in progress on instance %q; try again when it has ended", unfinished[0].ID, id)
	}
	return nil
}

// replace exchanges the resources of both instances, and begins to delete the one that the
// target had.
func (e *Engine) replace(ctx context.Context, tx *store.Tx, target, retained store.Instance) error {
	if err := e.replaceable(ctx, tx, target, retained); err != nil {
		return err
	}
	// Two instances must not have the same resource even for a moment, so that the
	// retained one gets its own ID in between.
	interim := resourceOf(retained, retained.ID, retained.ID)
	interim.ResourceName = ""
	for _, p := range []store.SetInstanceResourceParams{
		interim, resourceOf(retained, target.ID, retained.ResourceKey()), resourceOf(target, retained.ID, target.ResourceKey()),
	} {
		if err := e.Store.SetInstanceResource(ctx, tx, p); err != nil {
			return err
		}
	}
	if err := errors.Join(
		e.Store.ExpireRetained(ctx, tx, retained.ID),
		e.Store.MoveBackups(ctx, tx, store.MoveBackupsParams{ResourceName: SafeName(retained), InstanceID: target.ID}),
	); err != nil {
		return err
	}
	old, updated := retained, target
	old.Server, updated.Server, updated.Parameters = target.Server, retained.Server, retained.Parameters
	_, err := e.Accept(ctx, tx, old, Request{Kind: store.Deprovision})
	if err != nil || retained.MaintenanceVersion == target.MaintenanceVersion {
		return err
	}
	// The platform expects the target's version.
	_, err = e.Accept(ctx, tx, updated, Request{Kind: store.Update})
	return err
}

// resourceOf gives the resource of an instance to the instance with the given ID.
func resourceOf(of store.Instance, id, resource string) store.SetInstanceResourceParams {
	return store.SetInstanceResourceParams{
		ID: id, ResourceID: resource, Parameters: of.Parameters, MaintenanceVersion: of.MaintenanceVersion,
		Server: of.Server, Backend: of.Backend, BackendType: of.BackendType, ResourceName: of.ResourceName,
	}
}

func (e *Engine) replaceable(ctx context.Context, tx *store.Tx, target, retained store.Instance) error {
	for _, difference := range []struct{ what, target, retained string }{
		{"platform", target.Platform, retained.Platform}, {"service", target.ServiceID, retained.ServiceID},
		{"plan", target.PlanID, retained.PlanID}, {"organization", target.OrganizationID, retained.OrganizationID},
	} {
		if difference.target != difference.retained {
			return notRestorable("instance %q is of %s %q and the retained one of %q; have one created that is of the same",
				target.ID, difference.what, difference.target, difference.retained)
		}
	}
	if target.RetainedUntil != nil || target.Status != store.Ready {
		return notRestorable("instance %q is not ready", target.ID)
	}
	bindings, err := e.Store.BindingsOfInstance(ctx, tx, target.ID)
	if err != nil {
		return err
	}
	if len(bindings) > 0 {
		return notRestorable("instance %q has %d binding(s), and what they wrote would be lost; have them deleted first", target.ID, len(bindings))
	}
	return e.checkIdle(ctx, tx, target.ID)
}

// Purge begins to delete a retained instance before its time.
func (e *Engine) Purge(ctx context.Context, retainedID string, originating json.RawMessage) error {
	return e.Store.InTx(ctx, func(tx *store.Tx) error {
		retained, err := e.retainedInstance(ctx, tx, retainedID)
		if err != nil {
			return err
		}
		if err := errors.Join(
			e.Store.ExpireRetained(ctx, tx, retainedID),
			e.Store.ExpireBackupsOfResource(ctx, tx, store.ExpireBackupsOfResourceParams{ResourceName: SafeName(retained)}),
		); err != nil {
			return err
		}
		_, err = e.Accept(ctx, tx, retained, Request{Kind: store.Deprovision, Originating: originating})
		return err
	})
}
