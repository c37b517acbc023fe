package feed

import (
	"context"
	"errors"
	"fmt"
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
	// inactiveFor is the threshold after which the server deletes a consumer that the feed
	// may not delete.
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

// ensure creates or finds the feed's consumer while the feed's row is locked, so that no
// consumer is created after the feed was stopped.
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

// owns says whether the feed created the consumer.
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
	// Credentials that may create consumers but not delete them make it one that the server
	// deletes when nobody pulls from it.
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
