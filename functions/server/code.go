package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// collector deletes compiled code that no action has any more: after a namespace
// ended, and now and then.
type collector struct {
	store  *state.Store
	pool   *sandbox.Pool
	logger *slog.Logger
	due    chan struct{}
}

const (
	// collectEvery is how often what other runtimes' users deleted is looked for.
	collectEvery = 10 * time.Minute
	// askedAtOnce is how many hashes one query asks for.
	askedAtOnce = 1000
)

func newCollector(store *state.Store, pool *sandbox.Pool, logger *slog.Logger) *collector {
	return &collector{store, pool, logger, make(chan struct{}, 1)}
}

// wake makes it look soon.
func (c *collector) wake() {
	select {
	case c.due <- struct{}{}:
	default: // it will
	}
}

// run collects until ctx ends.
func (c *collector) run(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.due:
		case <-tick.C:
		}
		if err := c.collect(ctx); err != nil && ctx.Err() == nil {
			c.logger.WarnContext(ctx, "unused code not deleted", "error", err.Error())
		}
	}
}

// collect asks the database which of what is compiled here is still some action's.
func (c *collector) collect(ctx context.Context) error {
	hashes, err := c.pool.Cached()
	if err != nil {
		return err
	}
	for len(hashes) > 0 {
		some := hashes[:min(askedAtOnce, len(hashes))]
		hashes = hashes[len(some):]
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
