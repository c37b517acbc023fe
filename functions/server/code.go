package server

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// collector deletes compiled code that no action uses any more: after a namespace was
// deleted, and periodically.
type collector struct {
	store  *state.Store
	pool   *sandbox.Pool
	logger *slog.Logger
	due    chan struct{}
}

const (
	collectEvery = 10 * time.Minute
	// askedAtOnce is how many hashes one query checks.
	askedAtOnce = 1000
)

func newCollector(store *state.Store, pool *sandbox.Pool, logger *slog.Logger) *collector {
	return &collector{store, pool, logger, make(chan struct{}, 1)}
}

// wake makes it due.
func (c *collector) wake() {
	select {
	case c.due <- struct{}{}:
	default: // it is due already
	}
}

func (c *collector) run(ctx context.Context) {
	if err := c.collect(ctx); err != nil && ctx.Err() == nil {
		c.logger.WarnContext(ctx, "unused code not deleted", "error", err.Error())
	}
}

// collect asks the database which of the code compiled here no action uses.
func (c *collector) collect(ctx context.Context) error {
	hashes, err := c.pool.Cached()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(hashes, askedAtOnce) {
		unused, err := c.store.UnusedCode(ctx, c.store.Pool, some)
		if err != nil {
			return err
		}
		for _, hash := range unused {
			if err := c.pool.Forget(hash); err != nil {
				return err
			}
		}
	}
	return nil
}
