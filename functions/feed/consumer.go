package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	ownerKey       = "chandler-feed" // metadata of a consumer: the feed that created it
	consumerPrefix = "chandler_"
	// inactiveFor ends a consumer that the feed may not delete.
	inactiveFor = time.Second
)

func (l listening) consumerName(id uuid.UUID) string {
	if l.Durable != "" {
		return l.Durable
	}
	return consumerPrefix + id.String()
}

func (m *messages) consumerConfig(id uuid.UUID, l listening) jetstream.ConsumerConfig {
	deliver := jetstream.DeliverAllPolicy
	if l.Deliver == deliverNew {
		deliver = jetstream.DeliverNewPolicy
	}
	return jetstream.ConsumerConfig{
		Durable:       l.consumerName(id),
		Description:   "a trigger's feed",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       m.Pace.AckWait,
		MaxDeliver:    -1, // the feed counts, so that every message that it gives up becomes a dead letter
		DeliverPolicy: deliver,
		FilterSubject: l.Subject,
		Metadata:      map[string]string{ownerKey: id.String()},
	}
}

// ensure locks the feed's row, so that no consumer is created after the feed was stopped.
func (m *messages) ensure(ctx context.Context, on *link, id uuid.UUID, version int64, l listening) (consumer jetstream.Consumer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*callPatience)
	defer cancel()
	err = m.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := m.Store.FeedRuns(ctx, tx, state.FeedRunsParams{ID: id, Version: version}); err != nil {
			if state.NotFound(err) {
				return errStopped
			}
			return fmt.Errorf("lock the feed: %w", err)
		}
		return on.during(ctx, l.Stream, func(ctx context.Context) error {
			consumer, err = m.consumer(ctx, on, id, l)
			return err
		})
	})
	return consumer, err
}

func (m *messages) consumer(ctx context.Context, on *link, id uuid.UUID, l listening) (jetstream.Consumer, error) {
	config := m.consumerConfig(id, l)
	if l.Durable == "" {
		return on.js.CreateOrUpdateConsumer(ctx, l.Stream, config)
	}
	created, err := on.js.CreateConsumer(ctx, l.Stream, config)
	if !errors.Is(err, jetstream.ErrConsumerExists) {
		return created, err
	}
	existing, err := on.js.Consumer(ctx, l.Stream, l.Durable)
	switch {
	case err != nil:
		return nil, err
	case owns(existing, id):
		return on.js.UpdateConsumer(ctx, l.Stream, config)
	case existing.CachedInfo().Config.AckPolicy != jetstream.AckExplicitPolicy:
		return nil, errForeign
	}
	return existing, nil
}

func owns(c jetstream.Consumer, id uuid.UUID) bool {
	return c.CachedInfo().Config.Metadata[ownerKey] == id.String()
}

// deleteConsumer deletes the feed's consumer, if it exists, unless the feed only uses it.
func (m *messages) deleteConsumer(ctx context.Context, on *link, id uuid.UUID, l listening) error {
	if l.Durable != "" {
		mine := false
		err := on.during(ctx, l.Stream, func(ctx context.Context) error {
			existing, err := on.js.Consumer(ctx, l.Stream, l.Durable)
			mine = err == nil && owns(existing, id)
			return err
		})
		if err != nil || !mine {
			return ignoreAbsent(err)
		}
	}
	err := ignoreAbsent(on.during(ctx, l.Stream, func(ctx context.Context) error {
		return on.js.DeleteConsumer(ctx, l.Stream, l.consumerName(id))
	}))
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	// Without the permission to delete it, let the server delete the consumer when it is idle.
	config := m.consumerConfig(id, l)
	config.InactiveThreshold = inactiveFor
	return ignoreAbsent(on.during(ctx, l.Stream, func(ctx context.Context) error {
		_, err := on.js.UpdateConsumer(ctx, l.Stream, config)
		return err
	}))
}

// ignoreAbsent is nil if the consumer to delete does not exist.
func ignoreAbsent(err error) error {
	if isAny(err, jetstream.ErrConsumerNotFound, jetstream.ErrStreamNotFound, jetstream.ErrConsumerDoesNotExist,
		jetstream.ErrJetStreamNotEnabledForAccount) {
		return nil
	}
	return err
}

const (
	removalsAtOnce = 8
	// removalWithin limits the retries; after that, the consumer stays behind.
	removalWithin = 15 * time.Minute
)

// removeAll removes the feeds that were deleted, or whose trigger or namespace was.
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
