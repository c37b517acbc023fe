package server

import (
	"context"
	"slices"
	"time"
)

const (
	collectEvery = 10 * time.Minute
	// askedAtOnce is how many hashes one query checks.
	askedAtOnce = 1000
)

// collect deletes compiled code that no action uses any more. It runs periodically, and
// when it is due because something was deleted.
func (r *Runtime) collect(ctx context.Context) {
	if err := r.deleteUnusedCode(ctx); err != nil && ctx.Err() == nil {
		r.Logger.WarnContext(ctx, "unused code not deleted", "error", err.Error())
	}
}

func (r *Runtime) deleteUnusedCode(ctx context.Context) error {
	hashes, err := r.pool.Cached()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(hashes, askedAtOnce) {
		unused, err := r.Store.UnusedCode(ctx, r.Store.Pool, some)
		if err != nil {
			return err
		}
		for _, hash := range unused {
			if err := r.pool.Forget(hash); err != nil {
				return err
			}
		}
	}
	return nil
}
