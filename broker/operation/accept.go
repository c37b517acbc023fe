package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
)

// job is what River records of an operation: its ID, what to lock, and the span to
// continue.
type job struct {
	OperationID string `json:"operation_id"`
	InstanceID  string `json:"instance_id"`
	BindingID   string `json:"binding_id,omitempty"`
	// Exclusive excludes every other operation on the instance: for the instance's own
	// verbs, and for binds of a SerialBinder.
	Exclusive bool `json:"alone,omitempty"`
	// Traceparent is the span that enqueued it, if any.
	Traceparent string `json:"traceparent,omitempty"`
}

// Kind names the job in River's table.
func (job) Kind() string { return "operation" }

// Request is an operation to accept on an instance.
type Request struct {
	Kind      store.Kind
	BindingID string // empty for the instance's own verbs
	RequestID string
	// CopyID is the copy that a provision, an update or a recovery waits for; empty for none.
	CopyID string
	// Recovered is what a recovery begins with.
	Recovered   Recovered
	Originating json.RawMessage
}

// IsBusy reports whether a transaction could not accept an operation because another one
// on the same instance or binding is in progress.
func IsBusy(err error) bool {
	const uniqueViolation = "23505" // PostgreSQL manual, appendix A
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == uniqueViolation && strings.HasPrefix(pg.ConstraintName, "operations_one_per_")
}

// Accept records an operation and its audit record in tx. For an update, i is the instance
// as it is to become. If this replica has a worker free, it begins at the commit, and the
// operation gets a job only if it has to wait: see direct. The result lacks what the state
// generates, such as Seq.
func (e *Engine) Accept(ctx context.Context, tx *store.Tx, i store.Instance, r Request) (store.Operation, error) {
	plan, err := e.plan(i.ServiceID, i.PlanID)
	if err != nil {
		return store.Operation{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.Operation{}, err
	}
	now := time.Now()
	op := store.Operation{
		ID: id.String(), Kind: r.Kind, Platform: i.Platform, InstanceID: i.ID, BindingID: r.BindingID, ServiceID: i.ServiceID, PlanID: i.PlanID,
		Parameters: emptyObject, Context: emptyObject, RequestID: r.RequestID, Originating: r.Originating,
		State: store.InProgress, Deadline: now.Add(plan.OperationTime(r.CopyID != "")), CopyID: r.CopyID,
	}
	switch r.Kind {
	case store.Update:
		op.Parameters, op.MaintenanceVersion, op.Context = i.Parameters, i.MaintenanceVersion, i.Context
	case store.SoftDelete:
		until := now.Add(plan.KeepDeleted)
		op.RetainedUntil = &until
	case store.Recover:
		if op.Parameters, err = json.Marshal(r.Recovered); err != nil {
			return op, err
		}
	default:
	}
	args, queue, err := e.jobOf(ctx, plan, op, i.Server)
	if err != nil {
		return op, err
	}
	if e.direct.accepts(queue) {
		tx.OnCommit(func() { e.direct.begin(args, queue) })
	} else if op.JobID, err = e.insertJob(ctx, tx, args, &river.InsertOpts{Queue: queue}); err != nil {
		return op, err
	}
	return op, tx.Last(func(db store.DBTX) error {
		return errors.Join(e.Store.InsertOperation(ctx, db, store.InsertOperationParams{
			ID: op.ID, Kind: op.Kind, Platform: op.Platform, InstanceID: op.InstanceID, BindingID: op.BindingID,
			ServiceID: op.ServiceID, PlanID: op.PlanID, Parameters: op.Parameters, MaintenanceVersion: op.MaintenanceVersion,
			Context: op.Context, RequestID: op.RequestID, Originating: op.Originating, Deadline: op.Deadline, JobID: op.JobID,
			RetainedUntil: op.RetainedUntil, CopyID: op.CopyID,
		}), e.audit(ctx, db, op, store.EventAccepted))
	})
}

var emptyObject = json.RawMessage("{}")

// enqueue inserts a job for the operation. The previous job, if it still exists, then does
// nothing.
func (e *Engine) enqueue(ctx context.Context, tx *store.Tx, op store.Operation) error {
	i, err := e.Store.Instance(ctx, tx, op.InstanceID)
	if err != nil {
		return fmt.Errorf("read the operation's instance: %w", err)
	}
	plan, err := e.plan(op.ServiceID, op.PlanID)
	if err != nil {
		return err
	}
	args, queue, err := e.jobOf(ctx, plan, op, i.Server)
	if err != nil {
		return err
	}
	id, err := e.insertJob(ctx, tx, args, &river.InsertOpts{Queue: queue})
	if err != nil {
		return err
	}
	if err := e.Store.SetOperationJob(ctx, tx, store.SetOperationJobParams{ID: op.ID, JobID: id}); err != nil {
		return fmt.Errorf("record the operation's job: %w", err)
	}
	return nil
}

// jobOf returns an operation's job, and the queue of its server.
func (e *Engine) jobOf(ctx context.Context, plan *catalog.Plan, op store.Operation, server string) (job, string, error) {
	exclusive, err := e.exclusive(plan, op, server)
	return job{
		OperationID: op.ID, InstanceID: op.InstanceID, BindingID: op.BindingID, Exclusive: exclusive,
		Traceparent: tracing.Parent(ctx),
	}, queueOf(catalog.ServerKey(plan.Backend, server)), err
}

func (e *Engine) insertJob(ctx context.Context, tx *store.Tx, args job, o *river.InsertOpts) (int64, error) {
	o.MaxAttempts = 100
	// River logs an error if its context ends. If the client disconnects here, the
	// transaction's next statement fails.
	inserted, err := e.client.InsertTx(context.WithoutCancel(ctx), tx, args, o)
	if err != nil {
		return 0, fmt.Errorf("enqueue the operation: %w", err)
	}
	return inserted.Job.ID, nil
}

// exclusive reports whether nothing else on the instance may run beside the operation. An
// engine without open backends assumes so.
func (e *Engine) exclusive(plan *catalog.Plan, op store.Operation, server string) (bool, error) {
	if op.BindingID == "" || e.Drivers == nil {
		return true, nil
	}
	d, err := e.driver(plan, server)
	if err != nil {
		return false, err
	}
	return d.SerialBinds, nil
}

// Preempt ends an unfinished create in tx, in favour of a delete that is accepted in the
// same transaction. The delete's first attempt waits until the create's has ended.
func (e *Engine) Preempt(ctx context.Context, tx *store.Tx, op store.Operation) error {
	n, err := e.Store.PreemptOperation(ctx, tx, store.PreemptOperationParams{
		ID: op.ID, Description: "cancelled: the platform asked to delete it",
	})
	if err != nil {
		return fmt.Errorf("end operation %s: %w", op.ID, err)
	}
	if n == 0 {
		return nil
	}
	op.Outcome = store.OutcomePreempted
	if err := e.audit(ctx, tx, op, store.EventCancelled); err != nil {
		return err
	}
	return e.notify(ctx, tx, cancelled, op.ID)
}

// Cancel undoes an unfinished create or update, which then fails with the description. It
// does nothing to an operation that has ended or is being undone.
func (e *Engine) Cancel(ctx context.Context, operationID, description string) error {
	return e.Store.InTx(ctx, func(tx *store.Tx) error {
		op, err := e.Store.BeginUndo(ctx, tx, store.BeginUndoParams{
			ID: operationID, Outcome: store.OutcomeCancelled, Description: description,
		})
		if store.NotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		// The present job may be scheduled for later.
		if err := e.enqueue(ctx, tx, op); err != nil {
			return err
		}
		return e.notify(ctx, tx, cancelled, operationID)
	})
}

// ErrNotRetryable is the error of Retry, wrapped with the reason.
var ErrNotRetryable = errors.New("cannot be retried")

// Retry attempts a failed operation again, with a new deadline. It must be the latest on
// its instance or binding, which must still exist. The audit record names originating. With
// dryRun, Retry only checks.
func (e *Engine) Retry(ctx context.Context, operationID string, originating json.RawMessage, dryRun bool) (op store.Operation, err error) {
	err = e.Store.InTx(ctx, func(tx *store.Tx) error {
		op, err = e.Store.Operation(ctx, tx, operationID)
		if store.NotFound(err) {
			return fmt.Errorf("%w: there is no operation %s", ErrNotRetryable, operationID)
		} else if err != nil {
			return err
		}
		if err := e.retryable(ctx, tx, op); err != nil {
			return err
		}
		plan, err := e.plan(op.ServiceID, op.PlanID)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotRetryable, err)
		}
		if dryRun {
			return nil
		}
		op, err = e.Store.RetryOperation(ctx, tx, store.RetryOperationParams{
			ID: op.ID, Deadline: time.Now().Add(plan.OperationTime(op.CopyID != "")),
		})
		if err != nil {
			return fmt.Errorf("reopen the operation: %w", err)
		}
		if err := e.enqueue(ctx, tx, op); err != nil {
			return err
		}
		by := op
		by.Originating, by.RequestID = originating, ""
		return e.auditAs(ctx, tx, by, store.ActionRetry, store.EventAccepted)
	})
	return op, err
}

func (e *Engine) retryable(ctx context.Context, tx *store.Tx, op store.Operation) error {
	if op.State != store.Failed {
		return fmt.Errorf("%w: it is %s", ErrNotRetryable, op.State)
	}
	if op.Kind == store.Recover { // its copy was cancelled, and another backup may be the better one
		return fmt.Errorf("%w: repeat 'chandler backups restore' instead", ErrNotRetryable)
	}
	if _, err := e.Store.InstanceForUpdate(ctx, tx, op.InstanceID); store.NotFound(err) {
		return fmt.Errorf("%w: its instance is gone", ErrNotRetryable)
	} else if err != nil {
		return err
	}
	if op.BindingID != "" {
		if _, err := e.Store.BindingForUpdate(ctx, tx, op.BindingID); store.NotFound(err) {
			return fmt.Errorf("%w: its binding is gone", ErrNotRetryable)
		} else if err != nil {
			return err
		}
	}
	last, err := e.Store.LastOperation(ctx, tx, store.LastOperationParams{InstanceID: op.InstanceID, BindingID: op.BindingID})
	if err != nil {
		return err
	}
	if last.ID != op.ID {
		return fmt.Errorf("%w: operation %s came after it", ErrNotRetryable, last.ID)
	}
	unfinished, err := e.Store.UnfinishedOperations(ctx, tx, op.InstanceID)
	if err != nil {
		return err
	}
	for _, u := range unfinished {
		if op.BindingID == "" || u.BindingID == "" {
			return fmt.Errorf("%w: operation %s is in progress on the same instance", ErrNotRetryable, u.ID)
		}
	}
	return nil
}

func (e *Engine) audit(ctx context.Context, db store.DBTX, op store.Operation, event store.Event) error {
	return e.auditAs(ctx, db, op, store.Action(op.Kind), event)
}

func (e *Engine) auditAs(ctx context.Context, db store.DBTX, op store.Operation, action store.Action, event store.Event) error {
	err := e.Store.InsertAudit(ctx, db, store.InsertAuditParams{
		Platform: op.Platform, Originating: op.Originating, RequestID: op.RequestID, Action: action, Event: event,
		InstanceID: op.InstanceID, BindingID: op.BindingID, OperationID: op.ID,
		ServiceID: op.ServiceID, PlanID: op.PlanID, Outcome: op.Outcome,
	})
	if err != nil {
		return fmt.Errorf("write the audit record: %w", err)
	}
	return nil
}
