package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chandler-broker/chandler/broker/store"
)

// ErrNotRestorable is what Restore and Purge return, wrapped with the reason,
// where nothing was changed.
var ErrNotRestorable = errors.New("nothing was changed")

func notRestorable(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrNotRestorable)...)
}

// Restoration brings a kept instance back.
type Restoration struct {
	// RetainedID is the kept instance's own ID, with its suffix.
	RetainedID string
	// NewID is the ID that the platform knows it by from now on: one that is
	// unknown so far, or that of a ready instance without bindings, whose own
	// resource is removed in favour of the kept one.
	NewID       string
	Originating json.RawMessage // who asked for it
}

// Restore gives a kept instance back to its platform, in one transaction: it is
// restored or nothing has changed.
func (e *Engine) Restore(ctx context.Context, r Restoration) error {
	err := e.Store.InTx(ctx, func(tx pgx.Tx) error {
		retained, err := e.retainedInstance(ctx, tx, r.RetainedID)
		if err != nil {
			return err
		}
		target, err := e.Store.InstanceForUpdate(ctx, tx, r.NewID)
		switch {
		case store.NotFound(err):
			err = e.Store.RestoreInstance(ctx, tx, store.RestoreInstanceParams{ID: retained.ID, NewID: r.NewID})
		case err == nil:
			err = e.replace(ctx, tx, target, retained)
		}
		if err != nil {
			return err
		}
		return errors.Join(e.auditRestore(ctx, tx, r, r.RetainedID, retained), e.auditRestore(ctx, tx, r, r.NewID, retained))
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" {
		return notRestorable("instance %q was created at this moment; try again", r.NewID)
	}
	return err
}

// retainedInstance locks a kept instance that nothing has begun to remove.
func (e *Engine) retainedInstance(ctx context.Context, tx pgx.Tx, id string) (store.Instance, error) {
	i, err := e.Store.InstanceForUpdate(ctx, tx, id)
	switch {
	case store.NotFound(err):
		return i, notRestorable("there is no kept instance %q", id)
	case err != nil:
		return i, err
	case i.RetainedUntil == nil:
		return i, notRestorable("instance %q is not deleted", id)
	case i.Status != store.Retained || !time.Now().Before(*i.RetainedUntil):
		return i, notRestorable("instance %q was kept until %s, and its data is being removed", id, i.RetainedUntil.UTC().Format(time.RFC3339))
	}
	return i, e.checkIdle(ctx, tx, id)
}

func (e *Engine) checkIdle(ctx context.Context, tx pgx.Tx, id string) error {
	unfinished, err := e.Store.UnfinishedOperations(ctx, tx, id)
	if err != nil {
		return err
	}
	if len(unfinished) > 0 {
		return notRestorable("operation %s is in progress on instance %q; try again when it has ended", unfinished[0].ID, id)
	}
	return nil
}

// replace exchanges the resources of both instances, and has the one that the
// target had so far removed.
func (e *Engine) replace(ctx context.Context, tx pgx.Tx, target, retained store.Instance) error {
	if err := e.replaceable(ctx, tx, target, retained); err != nil {
		return err
	}
	// Two instances must not have the same resource for a moment, so the kept one is
	// given its own ID in between.
	interim := resourceOf(retained, retained.ID, retained.ID)
	interim.ResourceName = ""
	for _, p := range []store.SetInstanceResourceParams{
		interim, resourceOf(retained, target.ID, retained.ResourceKey()), resourceOf(target, retained.ID, target.ResourceKey()),
	} {
		if err := e.Store.SetInstanceResource(ctx, tx, p); err != nil {
			return err
		}
	}
	if err := e.Store.ExpireRetained(ctx, tx, retained.ID); err != nil {
		return err
	}
	_, err := e.Accept(ctx, tx, Request{
		Kind: store.Deprovision, Platform: retained.Platform, InstanceID: retained.ID, ServiceID: retained.ServiceID, PlanID: retained.PlanID, Server: target.Server,
	})
	if err != nil || retained.MaintenanceVersion == target.MaintenanceVersion {
		return err
	}
	// The platform believes it to be on the target's version.
	_, err = e.Accept(ctx, tx, Request{
		Kind: store.Update, Platform: target.Platform, InstanceID: target.ID, ServiceID: target.ServiceID, PlanID: target.PlanID, Server: retained.Server,
		Parameters: retained.Parameters, MaintenanceVersion: target.MaintenanceVersion, Context: target.Context,
	})
	return err
}

// resourceOf gives what instance of has to the instance with the ID, under the name
// resource.
func resourceOf(of store.Instance, id, resource string) store.SetInstanceResourceParams {
	return store.SetInstanceResourceParams{
		ID: id, ResourceID: resource, Parameters: of.Parameters, MaintenanceVersion: of.MaintenanceVersion,
		Server: of.Server, Backend: of.Backend, BackendType: of.BackendType, ResourceName: of.ResourceName,
	}
}

func (e *Engine) replaceable(ctx context.Context, tx pgx.Tx, target, retained store.Instance) error {
	for _, difference := range []struct{ what, target, kept string }{
		{"platform", target.Platform, retained.Platform}, {"service", target.ServiceID, retained.ServiceID},
		{"plan", target.PlanID, retained.PlanID}, {"organization", target.OrganizationID, retained.OrganizationID},
	} {
		if difference.target != difference.kept {
			return notRestorable("instance %q is of %s %q and the kept one of %q; have one created that is of the same",
				target.ID, difference.what, difference.target, difference.kept)
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

// auditRestore records it for the instance as it was and as it is.
func (e *Engine) auditRestore(ctx context.Context, tx pgx.Tx, r Restoration, id string, retained store.Instance) error {
	return e.Store.InsertAudit(ctx, tx, store.InsertAuditParams{
		Platform: retained.Platform, Originating: r.Originating, Action: store.ActionRestore, Event: store.EventSucceeded,
		InstanceID: id, ServiceID: retained.ServiceID, PlanID: retained.PlanID, Outcome: store.OutcomeRestored,
	})
}

// Purge has a kept instance's data removed now instead of at the end of its
// time.
func (e *Engine) Purge(ctx context.Context, retainedID string, originating json.RawMessage) error {
	return e.Store.InTx(ctx, func(tx pgx.Tx) error {
		retained, err := e.retainedInstance(ctx, tx, retainedID)
		if err != nil {
			return err
		}
		if err := e.Store.ExpireRetained(ctx, tx, retainedID); err != nil {
			return err
		}
		_, err = e.Accept(ctx, tx, Request{
			Kind: store.Deprovision, Platform: retained.Platform, InstanceID: retainedID, ServiceID: retained.ServiceID, PlanID: retained.PlanID, Server: retained.Server,
			Originating: originating,
		})
		return err
	})
}
