package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Adoption gives an instance a resource that exists on its server.
type Adoption struct {
	// InstanceID is that of a ready instance without bindings, whose own resource is
	// replaced by the adopted one and deleted.
	InstanceID string
	// Resource is its name on the server.
	Resource string
	// DryRun changes nothing.
	DryRun      bool
	Originating json.RawMessage // for the audit record
}

// adoptTime is how long the backend may take; platforms do not poll an adoption.
const adoptTime = 5 * time.Minute

// Adopt adopts a resource while no operation runs on the instance, and returns what was
// done, or what would be with DryRun. It can be repeated after a crash half-way.
func (e *Engine) Adopt(ctx context.Context, a Adoption) (steps []string, err error) {
	err = e.Store.InTx(ctx, func(tx *store.Tx) error {
		locked, err := e.Store.LockInstance(ctx, tx, a.InstanceID)
		if err != nil {
			return err
		}
		if !locked {
			return notRestorable("an operation runs on instance %q; try again", a.InstanceID)
		}
		i, err := e.adoptable(ctx, tx, a.InstanceID)
		if err != nil {
			return err
		}
		plan, err := e.plan(i.ServiceID, i.PlanID)
		if err != nil {
			return err
		}
		driver, err := e.driverOf(i, plan)
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, adoptTime)
		defer cancel()
		name, err := e.orphanName(limited, tx, driver, i, a.Resource)
		if err != nil {
			return err
		}
		if name != "" {
			steps, err = e.adoptOrphan(limited, tx, driver, i, plan, name, a)
			return err
		}
		if driver.Adopt == nil {
			return notRestorable("backend %s cannot adopt anything", plan.Backend)
		}
		err = store.HoldLocks(limited, tx, func(ctx context.Context) error {
			return whileNotYet(ctx, func() error {
				adopted, err := driver.Adopt(ctx, services.RawAdopt{Instance: RawInstance(i, plan), Resource: a.Resource, DryRun: a.DryRun})
				if steps == nil { // a repeated call has less to do
					steps = adopted.Steps
				}
				return err
			})
		})
		if message, rejected := services.IsRejected(err); rejected {
			if len(e.Catalog.ServersOf(plan.Backend)) > 1 {
				message = "server " + catalog.ServerKey(plan.Backend, i.Server) + ": " + message
			}
			return notRestorable("%s", message)
		}
		if err != nil || a.DryRun {
			return err
		}
		return e.auditAdoption(ctx, tx, a, i)
	})
	return steps, err
}

func (e *Engine) auditAdoption(ctx context.Context, tx *store.Tx, a Adoption, i store.Instance) error {
	audit := operatorAudit(i, store.ActionAdopt, store.OutcomeSucceeded, a.Originating)
	audit.Resource = a.Resource
	return e.Store.InsertAudit(ctx, tx, audit)
}

// operatorAudit is the audit record of an operator's command on an instance.
func operatorAudit(i store.Instance, action store.Action, outcome store.Outcome, originating json.RawMessage) store.InsertAuditParams {
	return store.InsertAuditParams{
		Platform: i.Platform, Originating: originating, Action: action, Event: store.EventSucceeded,
		InstanceID: i.ID, ServiceID: i.ServiceID, PlanID: i.PlanID, Outcome: outcome,
	}
}

// whileNotYet repeats a call while the backend returns NotYet.
func whileNotYet(ctx context.Context, call func() error) error {
	for {
		err := call()
		pending, ok := errors.AsType[*services.NotYetError](err)
		if !ok {
			return err
		}
		if !sleep(ctx, pending.After) {
			return fmt.Errorf("not done in time: %w", err)
		}
	}
}

// adoptable locks an instance that nobody has used yet.
func (e *Engine) adoptable(ctx context.Context, tx *store.Tx, id string) (store.Instance, error) {
	i, err := e.Store.InstanceForUpdate(ctx, tx, id)
	switch {
	case store.NotFound(err):
		return i, notRestorable("there is no instance %q: let its owner create one, to be adopted into", id)
	case err != nil:
		return i, err
	case i.Status != store.Ready || i.RetainedUntil != nil:
		return i, notRestorable("instance %q is %s, and has to be ready", id, i.Status)
	}
	bindings, err := e.Store.BindingsOfInstance(ctx, tx, id)
	if err != nil {
		return i, err
	}
	if len(bindings) > 0 {
		return i, notRestorable("instance %q has %d bindings; unbind them first", id, len(bindings))
	}
	return i, e.checkIdle(ctx, tx, id)
}
