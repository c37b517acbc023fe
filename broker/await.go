package broker

import (
	"context"
	"errors"

	"github.com/chandler-broker/chandler/broker/store"
)

// await waits for an operation on behalf of a client. It returns nil when the
// operation succeeded, errPending when the client shall poll, and else why it
// failed. A client that cannot poll waits longer, and a create or update that
// takes longer still is cancelled and undone, unless it was there before this
// request: another client polls it.
func (b *Broker) await(ctx context.Context, op store.Operation, async, joined bool) error {
	if ended, ok := b.Engine.Ended(op.ID); ok && op.Seq == 0 { // the one that this request began
		return resultError(ended.Operation)
	}
	limit, waiting := b.SyncWait, ctx
	if async {
		var stop context.CancelFunc
		limit = b.AsyncWait
		waiting, stop = context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(b.draining, stop)()
	}
	op, err := b.Engine.Wait(waiting, op.ID, limit)
	if err != nil && async {
		return errPending // it is accepted, even if this process ends or cannot tell
	}
	if err != nil {
		return stateError("wait for the operation", err)
	}
	if op.State != store.InProgress {
		return resultError(op)
	}
	if async {
		return errPending
	}
	return b.giveUp(ctx, op, joined)
}

// resultError is what an operation that ended means to its client.
func resultError(op store.Operation) error {
	if op.State == store.Succeeded {
		return nil
	}
	return failureError(op)
}

// errPending says that the operation goes on.
var errPending = errors.New("the operation is in progress")

func (b *Broker) giveUp(ctx context.Context, op store.Operation, joined bool) error {
	if isDelete(op.Kind) {
		return fail(TimedOut, "the deletion goes on; repeat the request to wait for it, or allow accepts_incomplete=true and poll last_operation")
	}
	if joined {
		return fail(TimedOut, "not done yet; another request began it and it goes on. Repeat the request to wait for it, or poll last_operation")
	}
	const description = "cancelled: it did not end while the client waited"
	if err := b.Engine.Cancel(ctx, op.ID, description); err != nil {
		return stateError("cancel the operation", err)
	}
	// It may have ended before it could be cancelled, or be undone already.
	now, err := b.Store.Operation(ctx, b.Store.Pool, op.ID)
	if err == nil && now.State != store.InProgress && now.Outcome != store.OutcomeCancelled {
		return resultError(now)
	}
	return fail(TimedOut, "not done within %s; it is cancelled and undone. Allow accepts_incomplete=true for what takes longer", b.SyncWait)
}

// isDelete says whether a kind of operation is a deletion that a platform asks
// for.
func isDelete(kind store.Kind) bool { return isDeprovision(kind) || kind == store.Unbind }

// isDeprovision says whether the instance is gone for the platform afterwards.
func isDeprovision(kind store.Kind) bool {
	return kind == store.Deprovision || kind == store.SoftDelete
}

// failureError is the answer to a request whose operation failed.
func failureError(op store.Operation) error {
	e := &Error{Kind: Failed, Description: op.Description}
	switch {
	case op.Outcome == store.OutcomeRejected && op.Usable:
		// Nothing was left behind, so that this may be the user's error.
		e.Kind = Invalid
		if op.Kind == store.Update || isDelete(op.Kind) {
			e.Kind = Unsupported
		}
	case op.Outcome == store.OutcomePreempted:
		e.Kind = Concurrency
	}
	e.InstanceUsable, e.UpdateRepeatable = consequences(op)
	return e
}

// consequences are the two fields that the specification adds to failed
// updates and deprovisions.
func consequences(op store.Operation) (usable, repeatable *bool) {
	if op.State != store.Failed || op.BindingID != "" {
		return nil, nil
	}
	switch op.Kind {
	case store.Update:
		again := op.Outcome != store.OutcomeRejected
		return &op.Usable, &again
	case store.Deprovision, store.SoftDelete:
		return &op.Usable, nil
	}
	return nil, nil
}
