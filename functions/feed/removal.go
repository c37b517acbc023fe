package feed

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	removalsAtOnce = 8
	// removalWithin limits how long unreachable servers are retried; after that, the
	// consumer stays behind.
	removalWithin = 15 * time.Minute
)

// removeAll removes the feeds that their owners deleted, and those whose trigger or
// namespace was deleted. The runtimes share the work.
func (f *Feeds) removeAll(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, removalsAtOnce)
	for ctx.Err() == nil {
		slots <- struct{}{}
		row, err := f.Store.FeedToRemove(ctx, f.Store.Pool, f.Pace.Look.Seconds())
		if err == nil {
			wg.Go(func() {
				defer func() { <-slots }()
				f.removeOne(ctx, row)
			})
			continue
		}
		<-slots
		if !state.NotFound(err) && ctx.Err() == nil {
			f.Logger.WarnContext(ctx, "feeds to remove cannot be read", "error", err)
		}
		wait := f.Pace.Look
		if n, err := f.Store.NextRemoval(ctx, f.Store.Pool); err == nil {
			wait = min(max(seconds(n), f.Pace.Retry), wait)
		}
		sleep(ctx, wait, f.removals)
	}
}

func (f *Feeds) removeOne(ctx context.Context, row state.Feed) {
	if row.Kind == kindNATS {
		err := f.removeConsumer(ctx, row)
		if err != nil && ctx.Err() != nil {
			return
		}
		if err != nil && temporary(err) && time.Since(*row.RemovingAt) < removalWithin {
			f.Logger.InfoContext(ctx, "a feed's consumer is not yet removed", "namespace", row.Namespace, "trigger", row.Trigger, "error", explain(err))
			return // it is retried
		}
		if err != nil {
			f.Logger.WarnContext(ctx, "a feed's consumer stays behind", "namespace", row.Namespace, "trigger", row.Trigger, "error", explain(err))
		}
	}
	if err := f.Store.DropFeed(ctx, f.Store.Pool, row.ID); err != nil && ctx.Err() == nil {
		f.Logger.WarnContext(ctx, "a feed cannot be removed yet", "error", err)
	}
}

// temporary says whether a retry may succeed: not if permission is denied.
func temporary(err error) bool {
	return unreachable(err) && !errors.Is(err, nats.ErrPermissionViolation)
}

func (f *Feeds) removeConsumer(ctx context.Context, row state.Feed) error {
	plain, err := f.Sealer.Open(place(row.ID), row.Sealed)
	if err != nil {
		return err
	}
	l, err := decode[listening](row)
	var secret credentials
	if err != nil || json.Unmarshal(plain, &secret) != nil {
		return errors.New("the feed cannot be read")
	}
	on, err := f.messages.links.use(secret)
	if err != nil {
		return err
	}
	defer on.release()
	return f.messages.deleteConsumer(ctx, on, row.ID, l)
}
