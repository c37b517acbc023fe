package operation

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/store"
)

// round goes through all that there is on a server, in batches, again and again.
// How far it has got is in the state: each batch is taken by whichever replica finds
// the round's row unlocked, and goes on behind the one before. A replica that is
// killed during a batch leaves it to another one as soon as its connection is gone.
type round struct {
	name string
	// interval is the time from the beginning of a round to that of the next one.
	interval time.Duration
	// pause is the time between two batches of a round.
	pause time.Duration
	// early begins a round ahead of its time.
	early chan struct{}
	// afterProvision says that the round is to begin early after a provision.
	afterProvision atomic.Bool
	// batch does what lies behind the ID and returns the last one; empty at the
	// end. failed is the backend's error: the batch is left to the next round, so
	// that it does not keep the others from being reached.
	batch func(ctx context.Context, tx pgx.Tx, after string) (last string, failed, err error)
}

// newRound makes a round that is due every so often.
func newRound(name string, every time.Duration) *round {
	return &round{name: name, interval: every, early: make(chan struct{}, 1)}
}

// startEarly starts the round early, on this replica.
func (r *round) startEarly() {
	select {
	case r.early <- struct{}{}:
	default: // it is going to begin
	}
}

// runRound works on a round until ctx ends.
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
		// Whether the round is due, and whether another replica has it, the state says.
		wait.Reset(e.ReconcileEvery)
		if more && err == nil {
			wait.Reset(r.pause)
		}
	}
}

// advance takes the round's next batch, if it is due and no other replica has it.
// more says that there are others behind it.
func (e *Engine) advance(ctx context.Context, r *round, now bool) (more bool, err error) {
	if err := e.Store.AddRound(ctx, e.Store.Pool, r.name); err != nil {
		return false, err
	}
	var failed error
	err = e.Store.InTx(ctx, func(tx pgx.Tx) error {
		// The replica that takes the round next may count from a little earlier.
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
