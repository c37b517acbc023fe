package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
)

// job is what River keeps of an operation: what identifies it, what to lock, and
// which span to go on from, and nothing else.
type job struct {
	OperationID string `json:"operation_id"`
	InstanceID  string `json:"instance_id"`
	BindingID   string `json:"binding_id,omitempty"`
	// Exclusive is for operations that nothing else on the instance may run
	// beside: its own verbs, and binds at a backend that wants them serial.
	Exclusive bool `json:"alone,omitempty"`
	// Traceparent is the span of who enqueued it, if any.
	Traceparent string `json:"traceparent,omitempty"`
}

// Kind names the job in River's table.
func (job) Kind() string { return "operation" }

// Request is an operation to accept.
type Request struct {
	Kind               store.Kind
	Platform           string
	InstanceID         string
	BindingID          string // empty for the instance's own verbs
	ServiceID, PlanID  string
	Server             string          // that the instance is on
	Parameters         json.RawMessage // of an update
	MaintenanceVersion string          // of an update
	Context            json.RawMessage // of an update
	RetainedUntil      *time.Time      // of a retire
	RequestID          string
	Originating        json.RawMessage
}

// IsBusy says that a transaction could not accept an operation, because another one on
// the same instance or binding is unfinished.
func IsBusy(err error) bool {
	const uniqueViolation = "23505" // PostgreSQL manual, appendix A
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == uniqueViolation && strings.HasPrefix(pg.ConstraintName, "operations_one_per_")
}

// Accept records the operation, its job and the audit entry in tx. They exist
// once tx commits. Where this replica has a worker free, it begins at the commit, and the
// operation has no job unless it has to wait: see direct. What Accept returns has no Seq:
// the state gives it one.
func (e *Engine) Accept(ctx context.Context, tx pgx.Tx, r Request) (store.Operation, error) {
	plan, err := e.plan(r.ServiceID, r.PlanID)
	if err != nil {
		return store.Operation{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.Operation{}, err
	}
	op := store.Operation{
		ID: id.String(), Kind: r.Kind, Platform: r.Platform, InstanceID: r.InstanceID, BindingID: r.BindingID,
		ServiceID: r.ServiceID, PlanID: r.PlanID, RequestID: r.RequestID, Originating: r.Originating, State: store.InProgress,
	}
	args, queue, err := e.jobOf(ctx, plan, op, r.Server)
	if err != nil {
		return op, err
	}
	own, ok := tx.(*store.Tx)
	if !ok || !e.direct.accepts(queue) {
		if op.JobID, err = e.insertJob(ctx, tx, args, &river.InsertOpts{Queue: queue}); err != nil {
			return op, err
		}
		return op, e.recordAccepted(ctx, tx, op, r, plan)
	}
	own.OnCommit(func() { e.direct.begin(args, queue) })
	return op, own.Last(func(db store.DBTX) error { return e.recordAccepted(ctx, db, op, r, plan) })
}

func (e *Engine) recordAccepted(ctx context.Context, db store.DBTX, op store.Operation, r Request, plan *catalog.Plan) error {
	err := e.Store.InsertOperation(ctx, db, store.InsertOperationParams{
		ID: op.ID, Kind: r.Kind, Platform: r.Platform, InstanceID: r.InstanceID, BindingID: r.BindingID,
		ServiceID: r.ServiceID, PlanID: r.PlanID, Parameters: orEmpty(r.Parameters), MaintenanceVersion: r.MaintenanceVersion,
		Context: orEmpty(r.Context), RequestID: r.RequestID, Originating: r.Originating, Deadline: time.Now().Add(plan.MaximumPollingDuration), JobID: op.JobID,
		RetainedUntil: r.RetainedUntil,
	})
	if err != nil {
		return fmt.Errorf("record the operation: %w", err)
	}
	return e.audit(ctx, db, op, store.EventAccepted)
}

func orEmpty(object json.RawMessage) json.RawMessage {
	if object == nil {
		return json.RawMessage("{}")
	}
	return object
}

// enqueue inserts a job for the operation and makes it the operation's own: the
// job before, if it still exists, does nothing when its time comes.
func (e *Engine) enqueue(ctx context.Context, tx pgx.Tx, op store.Operation) error {
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

// jobOf is an operation's job, and the queue of its server.
func (e *Engine) jobOf(ctx context.Context, plan *catalog.Plan, op store.Operation, server string) (job, string, error) {
	exclusive, err := e.exclusive(plan, op, server)
	return job{
		OperationID: op.ID, InstanceID: op.InstanceID, BindingID: op.BindingID, Exclusive: exclusive,
		Traceparent: tracing.Parent(ctx),
	}, queueOf(catalog.ServerKey(plan.Backend, server)), err
}

func (e *Engine) insertJob(ctx context.Context, tx pgx.Tx, args job, o *river.InsertOpts) (int64, error) {
	o.MaxAttempts = 100
	// River logs an error where its context ends. A client that hangs up here ends the
	// transaction at its next statement.
	inserted, err := e.client.InsertTx(context.WithoutCancel(ctx), tx, args, o)
	if err != nil {
		return 0, fmt.Errorf("enqueue the operation: %w", err)
	}
	return inserted.Job.ID, nil
}

// exclusive says whether nothing else on the instance may run beside the operation. An
// engine that has no backends open does not know, and is careful.
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

// Preempt ends an unfinished create in tx, in favour of a delete that is
// accepted in the same transaction. The delete's turns begin when the create's
// turn under way, if any, has noticed.
func (e *Engine) Preempt(ctx context.Context, tx pgx.Tx, op store.Operation) error {
	n, err := e.Store.PreemptOperation(ctx, tx, store.PreemptOperationParams{
		ID: op.ID, Description: "halted: the platform asked to delete it",
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

// Cancel turns an unfinished create or update around: what it did is undone,
// and it ends as failed with the description. One that ended already, or is
// being undone, stays as it is.
func (e *Engine) Cancel(ctx context.Context, operationID, description string) error {
	return e.Store.InTx(ctx, func(tx pgx.Tx) error {
		op, err := e.Store.BeginUndo(ctx, tx, store.BeginUndoParams{
			ID: operationID, Outcome: store.OutcomeCancelled, Description: description,
		})
		if store.NotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		// The job there is may sleep for a while yet.
		if err := e.enqueue(ctx, tx, op); err != nil {
			return err
		}
		return e.notify(ctx, tx, cancelled, operationID)
	})
}

// ErrNotRetryable is what Retry returns, wrapped with the reason.
var ErrNotRetryable = errors.New("cannot be retried")

// Retry puts a failed operation back to work, with a new deadline. It has to be
// the latest on its instance or binding, which has to exist still. The audit record
// says who asked for it.
func (e *Engine) Retry(ctx context.Context, operationID string, originating json.RawMessage) (store.Operation, error) {
	var op store.Operation
	err := e.Store.InTx(ctx, func(tx pgx.Tx) error {
		old, err := e.Store.Operation(ctx, tx, operationID)
		if store.NotFound(err) {
			return fmt.Errorf("%w: there is no operation %s", ErrNotRetryable, operationID)
		} else if err != nil {
			return err
		}
		if err := e.retryable(ctx, tx, old); err != nil {
			return err
		}
		plan, err := e.plan(old.ServiceID, old.PlanID)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotRetryable, err)
		}
		op, err = e.Store.RetryOperation(ctx, tx, store.RetryOperationParams{
			ID: old.ID, Deadline: time.Now().Add(plan.MaximumPollingDuration),
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

// Retryable returns the reason why an operation cannot be retried. It changes nothing.
func (e *Engine) Retryable(ctx context.Context, operationID string) error {
	return e.Store.InTx(ctx, func(tx pgx.Tx) error {
		op, err := e.Store.Operation(ctx, tx, operationID)
		if err != nil {
			return err
		}
		return e.retryable(ctx, tx, op)
	})
}

func (e *Engine) retryable(ctx context.Context, tx pgx.Tx, op store.Operation) error {
	if op.State != store.Failed {
		return fmt.Errorf("%w: it is %s", ErrNotRetryable, op.State)
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
