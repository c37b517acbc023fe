package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/loggable"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// record records the result of a step and returns when the next attempt is.
func (e *Engine) record(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, s *subject, r result) (time.Duration, error) {
	if r.lockErr != nil {
		return 0, r.lockErr
	}
	if err := tx.Last(func(db store.DBTX) error { return e.removeBindings(ctx, db, op, r.removed) }); err != nil {
		return 0, fmt.Errorf("remove the bindings: %w", err)
	}
	switch {
	case r.moreBindings:
		return nextNow, tx.Commit(ctx)
	case r.err == nil:
		return e.finish(ctx, tx, j, op, s, r)
	case r.interrupted:
		return nextNow, nil // the next attempt reads why
	}
	if pending, ok := errors.AsType[*services.NotYetError](r.err); ok && time.Now().Before(phaseDeadline(op)) {
		return e.recordAttempt(ctx, tx, op, pending.Note, op.LastError, boundDelay(pending.After))
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
	return e.recordAttempt(ctx, tx, op, retryDescription(op, r), r.err.Error(), backoff(op.Attempts))
}

func (e *Engine) recordAttempt(ctx context.Context, tx *store.Tx, op store.Operation, description, lastError string, next time.Duration) (time.Duration, error) {
	if op.Phase == store.PhaseUndo {
		description = op.Description // why the operation failed, not how the undoing goes
	}
	err := tx.Last(func(db store.DBTX) error {
		return e.Store.RecordAttempt(ctx, db, store.RecordAttemptParams{
			ID: op.ID, Description: printable(description), LastError: printable(lastError), Attempts: op.Attempts, Phase: op.Phase,
		})
	})
	if err != nil {
		return 0, fmt.Errorf("record the attempt: %w", err)
	}
	// The last attempt is at the phase's end.
	next = max(nextNow, min(next, time.Until(phaseDeadline(op))))
	return next, tx.Commit(ctx)
}

// isTimeout reports whether an attempt ran out of time: the one at the deadline finds out
// nothing.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || strings.HasSuffix(err.Error(), context.DeadlineExceeded.Error()) // scrubbed
}

// lastCause is the error that the operator sees of an operation that ran out of time: that
// of the attempt before, rather than that no time was left for the last one.
func lastCause(op store.Operation, err error) error {
	if op.LastError != "" && isTimeout(err) {
		return errors.New(op.LastError)
	}
	return err
}

// undoOrFail begins to undo a create or update that failed for good. Deletes, and
// operations that cannot be undone, end.
func (e *Engine) undoOrFail(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, s *subject, outcome store.Outcome, description string, cause error) (time.Duration, error) {
	if op.Phase == store.PhaseUndo || !undoable(op) {
		return e.finish(ctx, tx, j, op, s, result{err: cause, rejected: outcome == store.OutcomeRejected, description: description})
	}
	_, err := e.Store.BeginUndo(ctx, tx, store.BeginUndoParams{
		ID: op.ID, Outcome: outcome, Description: printable(description), LastError: printable(cause.Error()),
	})
	if err != nil && !store.NotFound(err) { // not found: cancelled or preempted at this moment
		return 0, fmt.Errorf("begin to undo: %w", err)
	}
	return nextNow, tx.Commit(ctx)
}

// finish ends the operation: its row, that of its instance or binding, the bindings that
// went with it, its job and the audit record change together. What has no job is waited for
// in this process, and read from time to time by others: a notification would keep commits
// from sharing a write to the disk.
func (e *Engine) finish(ctx context.Context, tx *store.Tx, j *river.Job[job], op store.Operation, s *subject, r result) (time.Duration, error) {
	end := finalState(op, r)
	end.Description, end.LastError = printable(end.Description), printable(end.LastError)
	op.State, op.Outcome, op.Usable = end.State, end.Outcome, end.Usable
	op.Description, op.LastError = end.Description, end.LastError
	if j.ID != 0 {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, pgx.Tx(tx), j)
		if err != nil && !errors.Is(err, rivertype.ErrNotFound) { // not found: another job took over
			return 0, fmt.Errorf("complete the job: %w", err)
		}
	}
	// Rows are locked in the same order as in accepting: instance, binding, operation.
	err := tx.Last(func(db store.DBTX) error {
		errs := []error{e.applyOutcome(ctx, db, op, s, r), e.Store.FinishOperation(ctx, db, end), e.audit(ctx, db, op, store.Event(op.State))}
		if j.ID != 0 {
			errs = append(errs, e.notify(ctx, db, finished, op.ID))
		}
		return errors.Join(errs...)
	})
	if err == nil {
		err = tx.Commit(ctx)
	}
	if store.IsStale(err) {
		return nextNow, nil // cancelled or preempted at this moment
	} else if err != nil {
		return 0, fmt.Errorf("finish: %w", err)
	}
	e.direct.ended(op, s.binding, r)
	e.wake(op.ID)
	e.report(ctx, op, s, end)
	if (op.Kind == store.Provision || op.Kind == store.Recover) && op.State == store.Succeeded {
		e.reconcileSoon(op, s.instance.Server)
	}
	return noAttempt, nil
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

// loggable masks the values of parameters in an error's text: a backend may quote what it
// rejects.
func (s *subject) loggable(op store.Operation, text string) string {
	return loggable.Text(text, s.instance.Parameters, s.binding.Parameters, op.Parameters)
}

// finalState is how the operation's row ends.
func finalState(op store.Operation, r result) store.FinishOperationParams {
	end := store.FinishOperationParams{ID: op.ID, Phase: op.Phase, Usable: true, LastError: op.LastError}
	switch {
	case r.err == nil && op.Phase == store.PhaseDo:
		end.State, end.Outcome, end.Description, end.LastError = store.Succeeded, store.OutcomeSucceeded, r.description, ""
	case r.err == nil: // undone
		end.State, end.Outcome, end.Description = store.Failed, op.Outcome, op.Description
	case op.Phase == store.PhaseUndo:
		end.State, end.Outcome, end.LastError = store.Failed, op.Outcome, r.err.Error()
		end.Description = op.Description + " (its remains are not cleaned up yet; delete it to clean them up)"
		end.Usable = false
	default: // a delete
		end.State, end.Outcome, end.Description, end.LastError = store.Failed, store.OutcomeTimedOut, r.description, r.err.Error()
		if r.rejected {
			end.Outcome = store.OutcomeRejected
		}
		// A backend that rejects has removed nothing, and a soft-delete removes
		// bindings only.
		end.Usable = r.rejected || op.Kind == store.SoftDelete
	}
	return end
}

// applyOutcome changes the row of the instance or binding at the operation's end.
func (e *Engine) applyOutcome(ctx context.Context, db store.DBTX, op store.Operation, s *subject, r result) error {
	ok := op.State == store.Succeeded
	// After a 4xx, no platform deletes anything: nothing of a rejected create may stay
	// (OSB, "Orphan Mitigation").
	nothing := op.Outcome == store.OutcomeRejected && op.Usable
	setInstance := func(status store.Status) error {
		return e.Store.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: op.InstanceID, Status: status})
	}
	switch op.Kind {
	case store.Provision:
		switch {
		case ok:
			return errors.Join(setInstance(store.Ready), e.schedule(ctx, db, s.instance, op.PlanID))
		case nothing:
			return e.Store.DeleteInstance(ctx, db, op.InstanceID)
		}
		return setInstance(store.CreateFailed)
	case store.Update:
		if !ok {
			return nil // undone, or unusable until it is updated again or deleted
		}
		parameters, err := withoutActions(s.plan, op.Parameters)
		if err != nil {
			return err
		}
		err = e.Store.SetInstanceUpdated(ctx, db, store.SetInstanceUpdatedParams{
			ID: op.InstanceID, PlanID: op.PlanID, Parameters: parameters, MaintenanceVersion: op.MaintenanceVersion,
			Context: op.Context,
		})
		if op.PlanID == s.instance.PlanID {
			return err
		}
		return errors.Join(err, e.schedule(ctx, db, s.instance, op.PlanID))
	case store.Recover:
		return nil // the instance is what it was; one that could not be recovered is missing on its server
	case store.Deprovision:
		if ok {
			return errors.Join(e.Store.DeleteInstance(ctx, db, op.InstanceID), e.expireBackups(ctx, db, s.plan, s.instance))
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
	default:
		return e.applyBindingOutcome(ctx, db, op, r, nothing)
	}
}

// withoutActions returns the parameters that an instance keeps of an update's.
func withoutActions(plan *catalog.Plan, parameters json.RawMessage) (json.RawMessage, error) {
	if len(plan.Actions) == 0 {
		return parameters, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &all); err != nil {
		return nil, fmt.Errorf("decode the update's parameters: %w", err)
	}
	for _, name := range plan.Actions {
		delete(all, name)
	}
	return json.Marshal(all)
}

// applyBindingOutcome is applyOutcome for the verbs of bindings.
func (e *Engine) applyBindingOutcome(ctx context.Context, db store.DBTX, op store.Operation, r result, nothing bool) error {
	ok := op.State == store.Succeeded
	setBinding := func(status store.Status) error {
		return e.Store.SetBindingStatus(ctx, db, store.SetBindingStatusParams{ID: op.BindingID, Status: status})
	}
	// revoked is for a binding that stays without its secrets.
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
	default: // store.Expire
		if ok {
			return revoked(store.Expired)
		}
		return nil
	}
}

// removeBindings removes the bindings that a deprovision has revoked, each with an audit
// record of its own.
func (e *Engine) removeBindings(ctx context.Context, db store.DBTX, op store.Operation, removed []store.Binding) error {
	if len(removed) == 0 {
		return nil
	}
	errs := []error{e.Store.LockInstanceRow(ctx, db, op.InstanceID)} // the same order as in accepting
	op.Kind, op.Outcome = store.Unbind, store.OutcomeSucceeded
	for _, b := range removed {
		op.BindingID = b.ID
		errs = append(errs, e.Store.DeleteBinding(ctx, db, b.ID), e.audit(ctx, db, op, store.EventSucceeded))
	}
	return errors.Join(errs...)
}

// maxText is how much of a backend's message is recorded.
const maxText = 4096

// printable makes a backend's message valid for PostgreSQL, which refuses NUL and invalid
// UTF-8. An operation whose error cannot be recorded would never end.
func printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
