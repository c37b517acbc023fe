package operation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel/attribute"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/broker/tracing"
)

// work attempts a job's operation until it ended or has to wait.
func (e *Engine) work(ctx context.Context, j *river.Job[job]) error {
	workers := e.direct.workers[j.Queue]
	if !workers.take() { // all are busy with what this replica accepted
		return river.JobSnooze(lockRetry)
	}
	defer workers.release()
	wait := e.run(tracing.Continue(ctx, j.Args.Traceparent), j)
	if wait == noAttempt {
		return nil
	}
	return river.JobSnooze(wait)
}

// run attempts the operation until it ended (noAttempt) or has to wait.
func (e *Engine) run(ctx context.Context, j *river.Job[job]) (wait time.Duration) {
	for {
		wait, err := e.attempt(ctx, j)
		switch {
		case err != nil && ctx.Err() != nil:
			return 0 // interrupted by a shutdown
		case err != nil:
			// Only errors of the state database get here.
			e.Logger.ErrorContext(ctx, "operation could not be attempted",
				"operation_id", j.Args.OperationID, "instance_id", j.Args.InstanceID, "binding_id", j.Args.BindingID, "error", err.Error())
			return time.Second
		case wait != nextNow:
			return wait
		}
	}
}

// lockRetry is how long an attempt waits for a lock or a worker.
const lockRetry = 100 * time.Millisecond

// An attempt returns how long to wait for the next one, or one of these.
const (
	noAttempt time.Duration = -1 // the operation ended, or is no longer this job's
	nextNow   time.Duration = 0
)

// errInterrupted is the cause of a step's end if its operation was cancelled or
// preempted.
var errInterrupted = errors.New("the operation was cancelled")

// attempt runs one step of the operation under its lock and records the result, in one
// transaction: a replica that loses its connection loses the lock and records nothing.
func (e *Engine) attempt(ctx context.Context, j *river.Job[job]) (time.Duration, error) {
	var b store.Batch
	locked := store.Read(ctx, &b, e.lock, j.Args)
	row := store.Read(ctx, &b, e.Store.OperationAndInstance, j.Args.OperationID)
	bound := e.readBindings(ctx, &b, j.Args)
	tx, err := e.Store.BeginWith(ctx, &b)
	if err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()

	if !locked.Value {
		if err := e.reportBlocked(ctx, tx, j); err != nil {
			return 0, fmt.Errorf("report what it waits for: %w", err)
		}
		return lockRetry + rand.N(lockRetry), nil
	}
	op := row.Value.Operation
	if store.NotFound(row.Err) || op.State != store.InProgress || op.JobID != j.ID {
		return noAttempt, nil // or another job goes on with it
	}
	ctx, span := tracing.Start(ctx, "operation "+string(op.Kind), attributes(op)...)
	defer span.End()
	subject, err := bound(row.Value)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if strings.HasPrefix(op.Description, blockedPrefix) {
		e.describe(ctx, op.ID, "")
	}
	result := e.runStep(ctx, tx, op, subject)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return e.record(ctx, tx, j, op, subject, result)
}

// attributes are those of an attempt's span.
func attributes(op store.Operation) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("chandler.operation.id", op.ID),
		attribute.String("chandler.operation.phase", string(op.Phase)),
		attribute.Int("chandler.operation.attempts", int(op.Attempts)),
		attribute.String("chandler.instance.id", op.InstanceID),
		attribute.String("chandler.binding.id", op.BindingID),
		attribute.String("chandler.request.id", op.RequestID),
	}
}

func (e *Engine) lock(ctx context.Context, tx store.DBTX, j job) (bool, error) {
	if j.Exclusive {
		return e.Store.LockInstance(ctx, tx, j.InstanceID)
	}
	locked, err := e.Store.LockBinding(ctx, tx, store.LockBindingParams{InstanceID: j.InstanceID, BindingID: j.BindingID})
	return locked != nil && *locked, err
}

// runStep runs the step while it keeps the lock's connection alive. It ends the step when
// that connection is lost or the operation is cancelled.
func (e *Engine) runStep(ctx context.Context, tx *store.Tx, op store.Operation, s *subject) result {
	limited, cancel := context.WithDeadline(ctx, stepDeadline(op))
	defer cancel()
	stepCtx, interrupt := context.WithCancelCause(limited)
	defer interrupt(nil)
	e.running.Store(op.ID, interrupt)
	defer e.running.Delete(op.ID)

	var r result
	r.lockErr = store.HoldLocksAndWatch(stepCtx, tx, func(ctx context.Context) error {
		r = e.step(ctx, op, s)
		return nil
	}, func(ctx context.Context) error {
		// The notification of its cancellation may have been lost.
		now, err := e.Store.OperationPhase(ctx, tx, op.ID)
		if err == nil && (now.State != store.InProgress || now.Phase != op.Phase) {
			interrupt(errInterrupted)
		}
		return err
	})
	r.interrupted = errors.Is(context.Cause(stepCtx), errInterrupted)
	return r
}

// lastAttempt is the time of a clean-up whose deadline passed before it could begin, because
// the whole broker was down.
const lastAttempt = 5 * time.Second

func stepDeadline(op store.Operation) time.Time {
	now := time.Now()
	limit := phaseDeadline(op)
	if removing := op.Phase == store.PhaseUndo || !undoable(op); removing && op.Attempts == 0 && limit.Before(now) {
		return now.Add(lastAttempt)
	}
	if most := now.Add(stepTime); limit.After(most) {
		return most
	}
	return limit
}

// undoable reports whether the operation is undone if it fails; deletes are not.
func undoable(op store.Operation) bool {
	return op.Kind == store.Provision || op.Kind == store.Update || op.Kind == store.Bind || op.Kind == store.Recover
}

// phaseDeadline is when the operation's phase has to end: a quarter of its time is reserved
// for undoing.
func phaseDeadline(op store.Operation) time.Time {
	if op.Phase == store.PhaseUndo || !undoable(op) {
		return op.Deadline
	}
	return op.Deadline.Add(-op.Deadline.Sub(op.CreatedAt) / 4)
}

// interrupt ends the operation's step, if it runs in this process.
func (e *Engine) interrupt(operationID string) {
	if cancel, ok := e.running.Load(operationID); ok {
		cancel.(context.CancelCauseFunc)(errInterrupted)
	}
}

// backoff is how long an operation waits after so many failed attempts. The first waits are
// shorter than River's scheduler interval, because only an elected leader schedules what is
// due later.
func backoff(attempts int32) time.Duration {
	base := 30 * time.Second
	if attempts < 40 {
		base = min(200*time.Millisecond<<min(attempts, 10), 4*time.Second)
	}
	return base*3/4 + rand.N(base/4)
}
