package operator

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// recoveryOf is the recovery of one instance.
type recoveryOf struct {
	instanceID string
	backup     *store.Backup // nil: without data
	to         catalog.Server
	from       string // the key of the server that it was on
}

// accept records the operation that recovers an instance. Work on other copies of it is cancelled.
func (o *Operator) accept(ctx context.Context, by Actor, r recoveryOf) (op store.Operation, err error) {
	err = o.Store.InTx(ctx, func(tx *store.Tx) error {
		i, err := o.recoverable(ctx, tx, r)
		if err != nil {
			return err
		}
		request := operation.Request{Kind: store.Recover, Originating: []byte(by), Recovered: operation.Recovered{From: r.from}}
		if err := o.Engine.CancelCopies(ctx, tx, i); err != nil {
			return err
		}
		if i.Server != r.to.Name {
			if err := o.Store.SetInstanceServer(ctx, tx, store.SetInstanceServerParams{ID: i.ID, Server: r.to.Name}); err != nil {
				return fmt.Errorf("record the instance's server: %w", err)
			}
			if err := o.Store.MoveBackupsToServer(ctx, tx, store.MoveBackupsToServerParams{ResourceName: operation.SafeName(i), Server: r.to.Name}); err != nil {
				return fmt.Errorf("record the server of the instance's backups: %w", err)
			}
			i.Server = r.to.Name
		}
		if r.backup != nil {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			request.CopyID, request.Recovered.BackupID = id.String(), r.backup.ID
			if err := backup.InsertRecovery(ctx, o.Store, tx, *r.backup, i, id.String()); err != nil {
				return err
			}
		}
		op, err = o.Engine.Accept(ctx, tx, i, request)
		return err
	})
	return op, err
}

// recoverable locks the instance and its backup, and says what prevents the recovery.
func (o *Operator) recoverable(ctx context.Context, tx *store.Tx, r recoveryOf) (i store.Instance, err error) {
	if i, err = o.Store.InstanceForUpdate(ctx, tx, r.instanceID); err != nil {
		return i, found(err, "instance", r.instanceID)
	}
	if i.Status != store.Ready && i.Status != store.Retained {
		return i, fmt.Errorf("its status is %s: have its platform delete it", i.Status)
	}
	plan, ok := o.Catalog.Plan(i.ServiceID, i.PlanID)
	if !ok {
		return i, fmt.Errorf("its plan %s is not in the catalog", i.PlanID)
	}
	if err := plan.CheckBackend(i.Backend, i.BackendType); err != nil {
		return i, err
	}
	unfinished, err := o.Store.UnfinishedOperations(ctx, tx, i.ID)
	if err != nil {
		return i, err
	}
	if len(unfinished) > 0 {
		return i, fmt.Errorf("operation %s (%s) is in progress on it; repeat the command when that has ended", unfinished[0].ID, unfinished[0].Kind)
	}
	if r.backup == nil {
		return i, nil
	}
	b, err := o.Store.BackupForShare(ctx, tx, r.backup.ID) // it might be deleted at this moment
	switch {
	case store.NotFound(err) || err == nil && b.State != store.BackupReady:
		return i, fmt.Errorf("backup %s is not ready, or no longer", r.backup.ID)
	case err == nil && b.Held:
		return i, fmt.Errorf("backup %s is held by its server, which restores it only to a new instance: have its user create one with restore_from", b.ID)
	case err == nil && b.BackendType != plan.BackendType:
		return i, fmt.Errorf("backup %s is of %s, and the instance of %s", b.ID, b.BackendType, plan.BackendType)
	}
	return i, err
}

// await waits until a recovery has ended, and completes its result.
func (o *Operator) await(ctx context.Context, result RecoveredInstance, operationID string) RecoveredInstance {
	result.OperationID = operationID
	for pause := 200 * time.Millisecond; ; pause = min(pause*3/2, 5*time.Second) {
		op, err := o.Store.Operation(ctx, o.Store.Pool, operationID)
		if err == nil && op.State != store.InProgress {
			return o.ended(ctx, result, op)
		}
		if store.NotFound(err) {
			result.Reason = fmt.Sprintf("operation %s is gone", operationID)
			return result
		}
		select {
		case <-ctx.Done():
			result.Outcome, result.Reason = InstancePending, "running brokers go on with it; repeat the command to see the result"
			return result
		case <-time.After(pause):
		}
	}
}

func (o *Operator) ended(ctx context.Context, result RecoveredInstance, op store.Operation) RecoveredInstance {
	how, err := operation.RecoveredBy(op)
	if err != nil {
		result.Reason = err.Error()
		return result
	}
	result.BackupID = how.BackupID
	if b, err := o.Store.Backup(ctx, o.Store.Pool, how.BackupID); err == nil {
		result.BackedUpAt = &b.CreatedAt
	}
	result.Bindings, result.Changed, result.Refused = how.Bound, how.Changed, how.Refused
	if op.State == store.Succeeded {
		result.Outcome = InstanceRecovered
		return result
	}
	result.Reason = op.Description
	if op.LastError != "" && op.LastError != op.Description {
		result.Reason += " (" + op.LastError + ")"
	}
	return result
}
