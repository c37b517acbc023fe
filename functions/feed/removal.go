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
	// removalsAtOnce is how many feeds are removed at a time.
	removalsAtOnce = 8
	// removalWithin is for how long servers that are away are waited for; after
	// that the consumer stays behind.
	removalWithin = 15 * time.Minute
)

// removeAll removes what is to be removed, one after another as any runtime gets to
// it: those that their owners deleted, and those whose trigger or namespace went.
func (f *Feeds) removeAll(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, removalsAtOnce)
	for ctx.Err() == nil {
		room <- struct{}{}
		row, err := f.Store.FeedToRemove(ctx, f.Store.Pool, f.Pace.Look.Seconds())
		if err == nil {
			wg.Go(func() {
				defer func() { <-room }()
				f.removeOne(ctx, row)
			})
			continue
		}
		<-room
		if !state.NotFound(err) && ctx.Err() == nil {
			f.Logger.WarnContext(ctx, "feeds to remove cannot be read", "error", err)
		}
		f.untilRemoval(ctx)
	}
}

// untilRemoval sleeps until there may be something to remove.
func (f *Feeds) untilRemoval(ctx context.Context) {
	wait := f.Pace.Look
	if n, err := f.Store.NextRemoval(ctx, f.Store.Pool); err == nil {
		wait = min(max(seconds(n), f.Pace.Retry), wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.removals:
	case <-ctx.Done():
	}
}

func (f *Feeds) removeOne(ctx context.Context, row state.Feed) {
	if row.Kind == kindNATS {
		err := f.removeConsumer(ctx, row)
		if err != nil && ctx.Err() != nil {
			return
		}
		if err != nil && passing(err) && time.Since(*row.RemovingAt) < removalWithin {
			f.Logger.InfoContext(ctx, "a feed's consumer is not yet removed", "namespace", row.Namespace, "trigger", row.Trigger, "error", explain(err))
			return // and tried again
		}
		if err != nil {
			f.Logger.WarnContext(ctx, "a feed's consumer stays behind", "namespace", row.Namespace, "trigger", row.Trigger, "error", explain(err))
		}
	}
	if err := f.Store.DropFeed(ctx, f.Store.Pool, row.ID); err != nil && ctx.Err() == nil {
		f.Logger.WarnContext(ctx, "a feed cannot be removed yet", "error", err)
	}
}

// passing says that an error may be another one, or none, in a while: not where the
// credentials or the stream's owner say no.
func passing(err error) bool {
	return unreachable(err) && !errors.Is(err, nats.ErrPermissionViolation)
}

func (f *Feeds) removeConsumer(ctx context.Context, row state.Feed) error {
	plain, err := f.Sealer.Open(place(row.ID), row.Sealed)
	if err != nil {
		return err
	}
	var secret credentials
	var l listening
	if err := errors.Join(json.Unmarshal(plain, &secret), json.Unmarshal(row.Settings, &l)); err != nil {
		return errors.New("the feed cannot be read")
	}
	on, err := f.messages.links.use(secret)
	if err != nil {
		return err
	}
	defer on.release()
	return f.messages.deleteConsumer(ctx, on, row.ID, l)
}
