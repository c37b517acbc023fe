package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/chandler-broker/chandler/broker/store"
)

// sweepEvery bounds how long nobody works on an operation whose worker died: the time
// until the database notices, plus two rounds.
const sweepEvery = 3 * time.Second

// sweep gives a new job to operations whose worker died, and begins the end of expired
// bindings and of instances whose retention has ended. Every replica sweeps: River's own
// rescue waits for an elected leader.
func (e *Engine) sweep(ctx context.Context) {
	for sleep(ctx, sweepEvery) {
		if err := e.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "could not look for what is stuck or due", "error", err.Error())
		}
	}
}

func (e *Engine) sweepOnce(ctx context.Context) error {
	return errors.Join(e.sweepStuck(ctx), e.sweepExpired(ctx), e.sweepRetained(ctx), e.recordBackends(ctx))
}

func (e *Engine) sweepStuck(ctx context.Context) error {
	stuck, err := e.Store.StuckOperations(ctx, e.Store.Pool)
	if err != nil {
		return err
	}
	var errs []error // an error of one must not delay the others
	for _, row := range stuck {
		errs = append(errs, e.Store.InTx(ctx, func(tx *store.Tx) error { return e.revive(ctx, tx, row) }))
	}
	return errors.Join(errs...)
}

// revive enqueues the operation again if nobody works on it: a live worker holds the lock.
func (e *Engine) revive(ctx context.Context, tx *store.Tx, row store.StuckOperationsRow) error {
	locked, err := e.lock(ctx, tx, job{InstanceID: row.InstanceID, BindingID: row.BindingID, Exclusive: row.BindingID == ""})
	if err != nil || !locked {
		return err
	}
	op, err := e.Store.Operation(ctx, tx, row.ID)
	if store.NotFound(err) {
		return nil
	}
	if err != nil || op.State != store.InProgress || op.JobID != row.JobID {
		return err
	}
	if err := e.enqueue(ctx, tx, op); err != nil {
		return err
	}
	e.Logger.InfoContext(ctx, "operation goes on after an interruption", "operation_id", op.ID, "kind", op.Kind,
		"instance_id", op.InstanceID, "binding_id", op.BindingID)
	return nil
}

// recordBackends records which backend made each instance, if that is not recorded yet:
// for those from before the state held that, and for those that an older replica
// beside this one creates. The check at the start has compared the rest with the
// catalog.
func (e *Engine) recordBackends(ctx context.Context) error {
	var p store.RecordBackendsParams
	for _, b := range e.Catalog.Backends() {
		for _, plan := range e.Catalog.PlansOf(b.Name) {
			p.PlanIds, p.Backends, p.BackendTypes = append(p.PlanIds, plan.ID), append(p.Backends, plan.Backend), append(p.BackendTypes, plan.BackendType)
		}
	}
	err := inBatches(func(batch int32) (int64, error) {
		p.Batch = batch
		return e.Store.RecordBackends(ctx, e.Store.Pool, p)
	})
	if err != nil {
		return fmt.Errorf("record the instances' backends: %w", err)
	}
	return nil
}

// prune is the job that deletes operations and the audit record after their retention
// time.
type prune struct{}

// Kind names the job in River's table.
func (prune) Kind() string { return "prune" }

// prune deletes in small batches, so that it locks few rows at once.
func (e *Engine) prune(ctx context.Context, _ *river.Job[prune]) error {
	before := time.Now().Add(-e.Retention)
	err := inBatches(func(batch int32) (int64, error) {
		return e.Store.PruneOperations(ctx, e.Store.Pool, store.PruneOperationsParams{Before: &before, Batch: batch})
	})
	if err != nil {
		return err
	}
	err = inBatches(func(batch int32) (int64, error) {
		return e.Store.PruneCopies(ctx, e.Store.Pool, store.PruneCopiesParams{Before: &before, Batch: batch})
	})
	if err != nil || e.AuditRetention == 0 {
		return err
	}
	before = time.Now().Add(-e.AuditRetention)
	return inBatches(func(batch int32) (int64, error) {
		return e.Store.PruneAudit(ctx, e.Store.Pool, store.PruneAuditParams{Before: before, Batch: batch})
	})
}

// inBatches calls do until it does less than a batch.
func inBatches(do func(batch int32) (int64, error)) error {
	const batch = 1000
	for {
		n, err := do(batch)
		if err != nil || n < batch {
			return err
		}
	}
}
