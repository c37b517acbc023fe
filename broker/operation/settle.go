package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// settle records what came of a step and says when the next turn is.
func (e *Engine) settle(ctx context.Context, tx pgx.Tx, j *river.Job[job], op store.Operation, s *subject, r result) (time.Duration, error) {
	if r.lost != nil {
		return 0, r.lost
	}
	if r.err == nil {
		return e.finish(ctx, tx, j, op, s, r)
	}
	if r.interrupted {
		return again, nil // the row tells what to do now
	}
	if pending, ok := errors.AsType[*services.NotYetError](r.err); ok && time.Now().Before(phaseDeadline(op)) {
		return e.note(ctx, tx, op, pending.Note, op.LastError, op.Attempts, wait(pending.After))
	}
	message, rejected := services.IsRejected(r.err)
	switch {
	case rejected && op.Phase == store.Doing:
		return e.turnAround(ctx, tx, j, op, s, store.Rejected, message, r.err)
	case !time.Now().Before(phaseDeadline(op)):
		return e.turnAround(ctx, tx, j, op, s, store.TimedOut, expired(op), r.err)
	}
	op.Attempts++
	e.Logger.WarnContext(ctx, "operation will be tried again", "operation_id", op.ID, "instance_id", op.InstanceID,
		"binding_id", op.BindingID, "kind", op.Kind, "phase", op.Phase, "attempts", op.Attempts, "error", r.err.Error())
	description := fmt.Sprintf("not done yet after %d attempts; trying again", op.Attempts)
	return e.note(ctx, tx, op, description, r.err.Error(), op.Attempts, backoff(op.Attempts))
}

func (e *Engine) note(ctx context.Context, tx pgx.Tx, op store.Operation, description, lastError string, attempts int32, next time.Duration) (time.Duration, error) {
	if op.Phase == store.Undoing {
		description = op.Description // the user is told why, not how the cleaning goes
	}
	err := e.Store.NoteOperation(ctx, tx, store.NoteOperationParams{
		ID: op.ID, Description: description, LastError: lastError, Attempts: attempts, Phase: op.Phase,
	})
	if err != nil {
		return 0, fmt.Errorf("note: %w", err)
	}
	return next, tx.Commit(ctx)
}

func expired(op store.Operation) string {
	return fmt.Sprintf("not done within the time the plan allows; the operator finds out why under operation %s", op.ID)
}

// turnAround ends the doing of an operation that failed for good: creates and
// updates are undone, deletes and undoings that fail end here.
func (e *Engine) turnAround(ctx context.Context, tx pgx.Tx, j *river.Job[job], op store.Operation, s *subject, outcome, description string, cause error) (time.Duration, error) {
	undo := op.Phase == store.Doing && (op.Kind == store.Provision || op.Kind == store.Update || op.Kind == store.Bind)
	if !undo {
		return e.finish(ctx, tx, j, op, s, result{err: cause, rejected: outcome == store.Rejected, description: description})
	}
	_, err := e.Store.BeginUndo(ctx, tx, store.BeginUndoParams{
		ID: op.ID, Outcome: outcome, Description: description, LastError: cause.Error(),
	})
	if err != nil {
		return 0, fmt.Errorf("begin to undo: %w", err)
	}
	return again, tx.Commit(ctx)
}

// finish ends the operation: its row, the rows of what it worked on, its job
// and the audit entry change together, and whoever waits is told.
func (e *Engine) finish(ctx context.Context, tx pgx.Tx, j *river.Job[job], op store.Operation, s *subject, r result) (time.Duration, error) {
	end := ending(op, r)
	// The same order as in accepting: instance, binding, operation.
	if err := e.lockRows(ctx, tx, op); err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	n, err := e.Store.FinishOperation(ctx, tx, end)
	if err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	if n == 0 {
		return again, nil // cancelled or superseded in this very moment
	}
	op.State, op.Outcome, op.Usable = end.State, end.Outcome, end.Usable
	if err := e.applyEnd(ctx, tx, op, r); err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	if err := e.audit(ctx, tx, op, end.State); err != nil {
		return 0, err
	}
	if err := e.notify(ctx, tx, finished, op.ID); err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, j)
	if err != nil && !errors.Is(err, rivertype.ErrNotFound) { // not found: another job took over
		return 0, fmt.Errorf("complete the job: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	e.waits.wake(op.ID)
	e.report(ctx, op, end)
	return ended, nil
}

func (e *Engine) report(ctx context.Context, op store.Operation, end store.FinishOperationParams) {
	log := e.Logger.InfoContext
	if end.State == store.Failed {
		log = e.Logger.WarnContext
	}
	attrs := []any{
		"operation_id", op.ID, "kind", op.Kind, "instance_id", op.InstanceID, "platform", op.Platform, "request_id", op.RequestID,
		"outcome", end.Outcome, "duration_ms", time.Since(op.CreatedAt).Milliseconds(),
	}
	if op.BindingID != "" {
		attrs = append(attrs, "binding_id", op.BindingID)
	}
	if end.LastError != "" {
		attrs = append(attrs, "error", end.LastError)
	}
	log(ctx, "operation ended", attrs...)
	if e.Finished != nil {
		e.Finished(op)
	}
}

// ending is how the operation's row ends.
func ending(op store.Operation, r result) store.FinishOperationParams {
	end := store.FinishOperationParams{ID: op.ID, Phase: op.Phase, Usable: true, LastError: op.LastError}
	switch {
	case r.err == nil && op.Phase == store.Doing:
		end.State, end.Outcome, end.LastError = store.Succeeded, store.Succeeded, ""
	case r.err == nil: // undone
		end.State, end.Outcome, end.Description = store.Failed, op.Outcome, op.Description
	case op.Phase == store.Undoing:
		end.State, end.Outcome, end.LastError = store.Failed, op.Outcome, r.err.Error()
		end.Description = op.Description + " (what it began is not cleaned up yet; delete it to have that done)"
		end.Usable = false
	default: // a delete that cannot be
		end.State, end.Outcome, end.Description, end.LastError = store.Failed, store.TimedOut, r.description, r.err.Error()
		if r.rejected {
			end.Outcome = store.Rejected
		}
		end.Usable = r.rejected // a backend that rejects has removed nothing
	}
	return end
}

func (e *Engine) lockRows(ctx context.Context, tx pgx.Tx, op store.Operation) error {
	if op.BindingID != "" {
		_, err := e.Store.BindingForUpdate(ctx, tx, op.BindingID)
		return err
	}
	_, err := e.Store.InstanceForUpdate(ctx, tx, op.InstanceID)
	return err
}

// applyEnd changes the instance's or binding's row as the operation's end
// demands.
func (e *Engine) applyEnd(ctx context.Context, tx pgx.Tx, op store.Operation, r result) error {
	ok := op.State == store.Succeeded
	setInstance := func(status string) error {
		return e.Store.SetInstanceStatus(ctx, tx, store.SetInstanceStatusParams{ID: op.InstanceID, Status: status})
	}
	setBinding := func(status string) error {
		return e.Store.SetBindingStatus(ctx, tx, store.SetBindingStatusParams{ID: op.BindingID, Status: status})
	}
	switch op.Kind {
	case store.Provision:
		if !ok {
			return setInstance(store.CreateFailed)
		}
		if err := e.keepSoon(ctx, tx, op); err != nil {
			return err
		}
		return setInstance(store.Ready)
	case store.Update:
		if !ok {
			return nil // undone, or unusable until it is updated again or deleted
		}
		return e.Store.SetInstanceUpdated(ctx, tx, store.SetInstanceUpdatedParams{
			ID: op.InstanceID, PlanID: op.PlanID, Parameters: op.Parameters, MaintenanceVersion: op.MaintenanceVersion,
		})
	case store.Deprovision:
		if ok {
			return e.removeInstance(ctx, tx, op.InstanceID)
		}
		if r.rejected {
			return nil
		}
		return setInstance(store.DeleteFailed)
	case store.Bind:
		if !ok {
			return setBinding(store.CreateFailed)
		}
		endpoints, err := json.Marshal(append([]services.Endpoint{}, r.endpoints...))
		if err != nil {
			return err
		}
		return e.Store.SetBindingReady(ctx, tx, store.SetBindingReadyParams{ID: op.BindingID, Endpoints: endpoints})
	case store.Unbind:
		if ok {
			return e.Store.DeleteBinding(ctx, tx, op.BindingID)
		}
		if r.rejected {
			return nil
		}
		return setBinding(store.DeleteFailed)
	}
	return nil
}

func (e *Engine) removeInstance(ctx context.Context, tx pgx.Tx, id string) error {
	if err := e.Store.DeleteBindingsOfInstance(ctx, tx, id); err != nil {
		return err
	}
	return e.Store.DeleteInstance(ctx, tx, id)
}
