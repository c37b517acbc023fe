package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/chandler-broker/chandler/broker/loggable"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// record records what came of a step and says when the next turn is.
func (e *Engine) record(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, s *subject, r result) (time.Duration, error) {
	if r.lockErr != nil {
		return 0, r.lockErr
	}
	if err := e.removeBindings(ctx, tx, op, r.removed); err != nil {
		return 0, fmt.Errorf("remove the bindings: %w", err)
	}
	switch {
	case r.moreBindings:
		return nextNow, tx.Commit(ctx)
	case r.err == nil:
		return e.finish(ctx, tx, j, op, s, r)
	case r.interrupted:
		return nextNow, nil // the row tells what to do now
	}
	if pending, ok := errors.AsType[*services.NotYetError](r.err); ok && time.Now().Before(phaseDeadline(op)) {
		return e.recordAttempt(ctx, tx, op, pending.Note, op.LastError, op.Attempts, boundDelay(pending.After))
	}
	message, rejected := services.IsRejected(r.err)
	switch {
	case rejected && op.Phase == store.PhaseDo:
		return e.undoOrFail(ctx, tx, j, op, s, store.OutcomeRejected, message, r.err)
	case !time.Now().Before(phaseDeadline(op)):
		return e.undoOrFail(ctx, tx, j, op, s, store.OutcomeTimedOut, timeoutDescription(op, r), lastCause(op, r.err))
	}
	op.Attempts++
	e.Logger.WarnContext(ctx, "operation will be tried again", "operation_id", op.ID, "instance_id", op.InstanceID,
		"binding_id", op.BindingID, "kind", op.Kind, "phase", op.Phase, "attempts", op.Attempts, "error", s.loggable(op, r.err.Error()))
	return e.recordAttempt(ctx, tx, op, retryDescription(op, r), r.err.Error(), op.Attempts, backoff(op.Attempts))
}

func (e *Engine) recordAttempt(ctx context.Context, tx *store.Tx, op store.Operation, description, lastError string, attempts int32, next time.Duration) (time.Duration, error) {
	if op.Phase == store.PhaseUndo {
		description = op.Description // the user is told why, not how the cleaning goes
	}
	err := e.Store.RecordAttempt(ctx, tx, store.RecordAttemptParams{
		ID: op.ID, Description: printable(description), LastError: printable(lastError), Attempts: attempts, Phase: op.Phase,
	})
	if err != nil {
		return 0, fmt.Errorf("note: %w", err)
	}
	// A turn at the phase's end decides: nothing is in progress for longer.
	next = max(nextNow, min(next, time.Until(phaseDeadline(op))))
	return next, tx.Commit(ctx)
}

// isTimeout says whether a turn ended because its time did: the one at the
// deadline finds nothing out.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || strings.HasSuffix(err.Error(), context.DeadlineExceeded.Error()) // scrubbed
}

// lastCause is what the operator is told of an operation that ran out of time:
// what went wrong before, rather than that there was no time left at the end.
func lastCause(op store.Operation, err error) error {
	if op.LastError != "" && isTimeout(err) {
		return errors.New(op.LastError)
	}
	return err
}

// undoOrFail ends the doing of an operation that failed for good: creates and
// updates are undone, deletes and undoings that fail end here.
func (e *Engine) undoOrFail(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, s *subject, outcome store.Outcome, description string, cause error) (time.Duration, error) {
	if op.Phase == store.PhaseUndo || !undoable(op) {
		return e.finish(ctx, tx, j, op, s, result{err: cause, rejected: outcome == store.OutcomeRejected, description: description})
	}
	_, err := e.Store.BeginUndo(ctx, tx, store.BeginUndoParams{
		ID: op.ID, Outcome: outcome, Description: printable(description), LastError: printable(cause.Error()),
	})
	if err != nil && !store.NotFound(err) { // not found: cancelled or superseded in this very moment
		return 0, fmt.Errorf("begin to undo: %w", err)
	}
	return nextNow, tx.Commit(ctx)
}

// finish ends the operation: its row, the rows of what it worked on, its job
// and the audit entry change together, and whoever waits is told.
func (e *Engine) finish(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, s *subject, r result) (time.Duration, error) {
	end := finalState(op, r)
	end.Description, end.LastError = printable(end.Description), printable(end.LastError)
	var b store.Batch
	locked := e.lockRows(ctx, &b, op) // the same order as in accepting: instance, binding, operation
	n := store.Read(&b, func(db store.DBTX) (int64, error) { return e.Store.FinishOperation(ctx, db, end) })
	if err := errors.Join(b.Send(ctx, tx), locked()); err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	if n.Value == 0 {
		return nextNow, nil // cancelled or superseded in this very moment
	}
	op.State, op.Outcome, op.Usable = end.State, end.Outcome, end.Usable
	op.Description, op.LastError = end.Description, end.LastError
	if err := e.commitEnd(ctx, tx, j, op, r); err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	e.direct.ended(op, s.binding, r)
	e.waiters.wake(op.ID)
	e.report(ctx, op, s, end)
	if op.Kind == store.Provision && op.State == store.Succeeded {
		e.reconcileSoon(op, s.instance.Server)
	}
	return noAttempt, nil
}

// commitEnd commits what goes with the end of an operation. What has no job is waited for
// in this process, and looked at from time to time by others: a notification would keep
// commits from sharing a write to the disk.
func (e *Engine) commitEnd(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, r result) error {
	err := tx.Last(func(db store.DBTX) error {
		return errors.Join(e.applyOutcome(ctx, db, op, r), e.audit(ctx, db, op, store.Event(op.State)))
	})
	if err != nil {
		return err
	}
	if j.ID != 0 {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, pgx.Tx(tx), j)
		if err != nil && !errors.Is(err, rivertype.ErrNotFound) { // not found: another job took over
			return fmt.Errorf("complete the job: %w", err)
		}
		if err := tx.Last(func(db store.DBTX) error { return e.notify(ctx, db, finished, op.ID) }); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

func (e *Engine) report(ctx context.Context, op store.Operation, s *subject, end store.FinishOperationParams) {
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
		attrs = append(attrs, "error", s.loggable(op, end.LastError))
	}
	log(ctx, "operation ended", attrs...)
	if e.OnFinished != nil {
		e.OnFinished(op)
	}
}

// loggable is an error's text for the log, with parameters masked: a backend may quote
// what it refuses.
func (s *subject) loggable(op store.Operation, text string) string {
	return loggable.Text(text, s.instance.Parameters, s.binding.Parameters, op.Parameters)
}

// finalState is how the operation's row ends.
func finalState(op store.Operation, r result) store.FinishOperationParams {
	end := store.FinishOperationParams{ID: op.ID, Phase: op.Phase, Usable: true, LastError: op.LastError}
	switch {
	case r.err == nil && op.Phase == store.PhaseDo:
		end.State, end.Outcome, end.LastError = store.Succeeded, store.OutcomeSucceeded, ""
	case r.err == nil: // undone
		end.State, end.Outcome, end.Description = store.Failed, op.Outcome, op.Description
	case op.Phase == store.PhaseUndo:
		end.State, end.Outcome, end.LastError = store.Failed, op.Outcome, r.err.Error()
		end.Description = op.Description + " (what it began is not cleaned up yet; delete it to have that done)"
		end.Usable = false
	default: // a delete that cannot be
		end.State, end.Outcome, end.Description, end.LastError = store.Failed, store.OutcomeTimedOut, r.description, r.err.Error()
		if r.rejected {
			end.Outcome = store.OutcomeRejected
		}
		// A backend that rejects has removed nothing, and a retire removes
		// bindings only.
		end.Usable = r.rejected || op.Kind == store.SoftDelete
	}
	return end
}

// lockRows adds it to the batch; the function that it returns says what came of it.
func (e *Engine) lockRows(ctx context.Context, b *store.Batch, op store.Operation) func() error {
	if op.BindingID != "" {
		r := store.Read(b, func(db store.DBTX) (store.Binding, error) { return e.Store.BindingForUpdate(ctx, db, op.BindingID) })
		return func() error { return r.Err }
	}
	r := store.Read(b, func(db store.DBTX) (store.Instance, error) { return e.Store.InstanceForUpdate(ctx, db, op.InstanceID) })
	return func() error { return r.Err }
}

// applyOutcome changes the instance's or binding's row as the operation's end
// demands.
func (e *Engine) applyOutcome(ctx context.Context, db store.DBTX, op store.Operation, r result) error {
	ok := op.State == store.Succeeded
	// A create that was refused answers 4xx, after which no platform deletes
	// anything: nothing of it may stay (OSB, "Orphan Mitigation").
	nothing := op.Outcome == store.OutcomeRejected && op.Usable
	setInstance := func(status store.Status) error {
		return e.Store.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: op.InstanceID, Status: status})
	}
	switch op.Kind {
	case store.Provision:
		switch {
		case ok:
			return setInstance(store.Ready)
		case nothing:
			return e.Store.DeleteInstance(ctx, db, op.InstanceID)
		}
		return setInstance(store.CreateFailed)
	case store.Update:
		if !ok {
			return nil // undone, or unusable until it is updated again or deleted
		}
		return e.Store.SetInstanceUpdated(ctx, db, store.SetInstanceUpdatedParams{
			ID: op.InstanceID, PlanID: op.PlanID, Parameters: op.Parameters, MaintenanceVersion: op.MaintenanceVersion,
			Context: op.Context,
		})
	case store.Deprovision:
		if ok {
			return e.Store.DeleteInstance(ctx, db, op.InstanceID)
		}
		if r.rejected {
			return nil
		}
		return setInstance(store.DeleteFailed)
	case store.SoftDelete:
		if !ok {
			return nil
		}
		return e.Store.SoftDeleteInstance(ctx, db, store.SoftDeleteInstanceParams{
			ID: op.InstanceID, RetainedID: store.RetainedID(op.InstanceID, time.Now()), RetainedUntil: *op.RetainedUntil,
		})
	}
	return e.applyBindingOutcome(ctx, db, op, r, nothing)
}

// applyBindingOutcome is applyEnd for the verbs of bindings.
func (e *Engine) applyBindingOutcome(ctx context.Context, db store.DBTX, op store.Operation, r result, nothing bool) error {
	ok := op.State == store.Succeeded
	setBinding := func(status store.Status) error {
		return e.Store.SetBindingStatus(ctx, db, store.SetBindingStatusParams{ID: op.BindingID, Status: status})
	}
	// revoked is for a binding that stays and whose secrets are deleted.
	revoked := func(status store.Status) error {
		return errors.Join(setBinding(status), e.Store.AddSecretDeletion(ctx, db, op.BindingID))
	}
	switch op.Kind {
	case store.Bind:
		switch {
		case nothing:
			return e.Store.DeleteBinding(ctx, db, op.BindingID)
		case !ok && op.Usable: // undone
			return revoked(store.CreateFailed)
		case !ok:
			return setBinding(store.CreateFailed)
		}
		return e.Store.SetBindingReady(ctx, db, store.SetBindingReadyParams{ID: op.BindingID, Endpoints: endpointsJSON(r.credentials.Endpoints)})
	case store.Unbind:
		if ok {
			return e.Store.DeleteBinding(ctx, db, op.BindingID)
		}
		if r.rejected {
			return nil
		}
		return setBinding(store.DeleteFailed)
	case store.Expire:
		if ok {
			return revoked(store.Expired)
		}
	}
	return nil
}

// removeBindings removes what a deprovision has revoked, each with an audit
// record of its own.
func (e *Engine) removeBindings(ctx context.Context, tx pgx.Tx, op store.Operation, removed []store.Binding) error {
	if len(removed) == 0 {
		return nil
	}
	if _, err := e.Store.InstanceForUpdate(ctx, tx, op.InstanceID); err != nil { // the same order as in accepting
		return err
	}
	op.Kind, op.Outcome = store.Unbind, store.OutcomeSucceeded
	return store.SendBatch(ctx, tx, func(db store.DBTX) error {
		var errs []error
		for _, b := range removed {
			op.BindingID = b.ID
			errs = append(errs, e.Store.DeleteBinding(ctx, db, b.ID), e.audit(ctx, db, op, store.EventSucceeded))
		}
		return errors.Join(errs...)
	})
}

// maxText is how much of a backend's message is kept.
const maxText = 4096

// printable makes a backend's message one that PostgreSQL takes: it refuses
// NUL and what is not UTF-8, and an operation whose error cannot be recorded
// would never end.
func printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
