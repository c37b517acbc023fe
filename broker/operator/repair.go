package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Restore makes a retained instance available under the ID newID; operation.Restoration
// says which IDs are possible. id is the one that the platform knew or the retained
// instance's own, which is returned.
func (o *Operator) Restore(ctx context.Context, by Actor, id, newID string) (retained string, err error) {
	if retained, err = o.retained(ctx, id); err != nil {
		return "", err
	}
	return retained, o.Engine.Restore(ctx, operation.Restoration{RetainedID: retained, NewID: newID, Originating: json.RawMessage(by)})
}

// Purge has a running broker remove the data of a retained instance now. id is the one
// that the platform knew or the retained instance's own, which is returned.
func (o *Operator) Purge(ctx context.Context, by Actor, id string) (retained string, err error) {
	if retained, err = o.retained(ctx, id); err != nil {
		return "", err
	}
	return retained, o.Engine.Purge(ctx, retained, json.RawMessage(by))
}

// Adopt gives an existing resource of a server to an unused instance, and returns the
// steps that were taken. With dry it changes nothing and returns those that would be.
func (o *Operator) Adopt(ctx context.Context, by Actor, instanceID, resource string, dry bool) (steps []string, err error) {
	return o.Engine.Adopt(ctx, operation.Adoption{InstanceID: instanceID, Resource: resource, DryRun: dry, Originating: json.RawMessage(by)})
}

// retained finds a retained instance by its own ID or by the one that its platform knew.
func (o *Operator) retained(ctx context.Context, id string) (string, error) {
	instances, err := o.Store.RetainedInstances(ctx, o.Store.Pool, id)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range instances {
		if i.ID == id {
			return id, nil
		}
		ids = append(ids, i.ID)
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("no deleted instance %q is kept; list the instances with the status %q", id, store.Retained)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%q was deleted several times; name one of these: %s", id, strings.Join(ids, ", "))
}

// removeTime is how long the removal of one orphan may take, and with it how long a
// platform that reuses its ID may have to wait.
const removeTime = 30 * time.Second

// RemoveOrphans deletes the orphans among the differences, data included: bindings
// before instances. It continues after a failure, and records each removal in the audit
// record.
func (o *Operator) RemoveOrphans(ctx context.Context, by Actor, differences []Difference) error {
	var errs []error
	for _, bindings := range []bool{true, false} {
		for _, d := range differences {
			if d.Kind != Orphan || (d.Listing.Binding != "") != bindings {
				continue
			}
			if err := o.auditRemoval(ctx, by, d, store.EventAccepted); err != nil {
				return errors.Join(append(errs, err)...)
			}
			event := store.EventSucceeded
			if err := o.removeOrphan(ctx, d); err != nil {
				event = store.EventFailed
				errs = append(errs, fmt.Errorf("remove %s from backend %s: %w", d.Resource, d.Backend, err))
			}
			errs = append(errs, o.auditRemoval(ctx, by, d, event))
		}
	}
	return errors.Join(errs...)
}

// removeOrphan compares once more while it locks the orphan's name: a platform may reuse a
// forgotten ID at this moment, and must not lose its new resource.
func (o *Operator) removeOrphan(ctx context.Context, d Difference) error {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	return o.Store.InTx(ctx, func(tx *store.Tx) error {
		if err := o.Store.LockOrphan(ctx, tx, nameOf(d.Listing)); err != nil {
			return fmt.Errorf("lock its name: %w", err)
		}
		all, err := o.inventories(ctx)
		if err != nil {
			return err
		}
		if owned(all, d.Listing) {
			return errors.New("not removed: it has an owner by now")
		}
		return store.HoldLocks(ctx, tx, func(ctx context.Context) error { return o.Drivers[d.Backend].Remove(ctx, d.Listing) })
	})
}

func (o *Operator) auditRemoval(ctx context.Context, by Actor, d Difference, event store.Event) error {
	err := o.Store.InsertAudit(ctx, o.Store.Pool, store.InsertAuditParams{
		Originating: json.RawMessage(by), Action: store.ActionRemove, Event: event, Resource: d.Resource + " on " + d.Backend,
	})
	if err != nil {
		return fmt.Errorf("record the removal of %s from backend %s in the audit record: %w", d.Resource, d.Backend, err)
	}
	return nil
}
