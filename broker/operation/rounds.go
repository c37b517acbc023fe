package operation

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
)

// round goes through all instances or bindings of a server in batches, repeatedly. The state
// records its progress: any replica that finds the round's row unlocked takes the next
// batch. If it is killed during the batch, another one takes that as soon as the
// connection has closed.
type round struct {
	name string
	// interval is the time from the start of a round to that of the next one.
	interval time.Duration
	// pause is the time between two batches of a round.
	pause time.Duration
	// early starts a round ahead of its time.
	early chan struct{}
	// afterProvision says that a provision starts the round early.
	afterProvision atomic.Bool
	// batch processes the batch after the ID and returns the batch's last ID, or "" at
	// the end. failed is the backend's error: the batch is left to the next round, and
	// does not delay the others.
	batch func(ctx context.Context, tx *store.Tx, after string) (last string, failed, err error)
}

// startEarly starts the round early, on this replica.
func (r *round) startEarly() {
	select {
	case r.early <- struct{}{}:
	default: // it is about to start
	}
}

// runRound takes part in a round until ctx ends.
func (e *Engine) runRound(ctx context.Context, r *round) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		early := false
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		case <-r.early:
			early = true
		}
		more, err := e.advance(ctx, r, early)
		if err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "a part of a round over the instances failed", "round", r.name, "error", err.Error())
		}
		// The state tells whether the round is due, and whether another replica has it.
		wait.Reset(e.ReconcileEvery)
		if more && err == nil {
			wait.Reset(r.pause)
		}
	}
}

// advance takes the round's next batch, if it is due and no other replica has it. more says
// that others follow.
func (e *Engine) advance(ctx context.Context, r *round, now bool) (more bool, err error) {
	if err := e.Store.AddRound(ctx, e.Store.Pool, r.name); err != nil {
		return false, err
	}
	var failed error
	err = e.Store.InTx(ctx, func(tx *store.Tx) error {
		// Replicas do not wake at the same time.
		due := r.interval * 3 / 4
		after, err := e.Store.LockRound(ctx, tx, store.LockRoundParams{Name: r.name, Now: now, Every: due.Seconds()})
		if store.NotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		var last string
		if last, failed, err = r.batch(ctx, tx, after); err != nil {
			return err
		}
		more = last != ""
		return e.Store.AdvanceRound(ctx, tx, store.AdvanceRoundParams{Name: r.name, After: last})
	})
	if err == nil {
		err = failed
	}
	return more, err
}
