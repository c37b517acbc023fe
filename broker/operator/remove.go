package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
)

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
