package broker

import (
	"context"

	"github.com/chandler-broker/chandler/broker/store"
)

// await waits for an operation on behalf of a client. It returns the operation's ID if
// the client has to poll, and an error if the operation failed. A client that cannot poll
// waits longer. A create or update that takes longer still is cancelled and undone, unless
// this request joined it: another client polls it then.
func (b *Broker) await(ctx context.Context, op store.Operation, async, joined bool) (pending string, err error) {
	if ended, ok := b.Engine.Ended(op.ID); ok && op.Seq == 0 { // this request began it
		return "", resultError(ended.Operation)
	}
	limit, waiting := b.SyncWait, ctx
	if async {
		var stop context.CancelFunc
		limit = b.AsyncWait
		waiting, stop = context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(b.draining, stop)()
	}
	now, err := b.Engine.Wait(waiting, op.ID, limit)
	switch {
	case async && (err != nil || now.State == store.InProgress):
		return op.ID, nil // it is accepted, even if this process ends or cannot tell
	case err != nil:
		return "", stateError("wait for the operation", err)
	case now.State == store.InProgress:
		return "", b.giveUp(ctx, now, joined)
	}
	return "", resultError(now)
}

func (b *Broker) giveUp(ctx context.Context, op store.Operation, joined bool) error {
	if isDelete(op.Kind) {
		return fail(TimedOut, "the deletion is still in progress; repeat the request to wait for it, or allow accepts_incomplete=true and poll last_operation")
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
	return fail(TimedOut, "the operation did not end within %s, so it is cancelled and rolled back; send accepts_incomplete=true for slow operations", b.SyncWait)
}

// isDelete reports whether a platform asks for the deletion by this kind of operation.
func isDelete(kind store.Kind) bool { return isDeprovision(kind) || kind == store.Unbind }

// isDeprovision reports whether the instance then no longer exists for the platform.
func isDeprovision(kind store.Kind) bool {
	return kind == store.Deprovision || kind == store.SoftDelete
}

// isDeleting reports whether a deprovision is in progress on the instance.
func isDeleting(active []store.Operation) bool {
	op := store.On(active, "")
	return op != nil && isDeprovision(op.Kind)
}

// resultError is the answer to a request whose operation ended; nil if it succeeded.
func resultError(op store.Operation) error {
	if op.State == store.Succeeded {
		return nil
	}
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
	default:
		return nil, nil
	}
}
