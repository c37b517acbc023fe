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
	// ownerKey is the metadata of a consumer that says which feed made it.
	ownerKey = "chandler-feed"
	// consumerPrefix begins the names of consumers that feeds choose.
	consumerPrefix = "chandler_"
	// shrunk is how soon a consumer goes that cannot be deleted.
	shrunk = time.Second
)

// consumerName is the name of a feed's consumer.
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
		MaxDeliver:    -1, // we count: a message is not to go without becoming a dead letter
		DeliverPolicy: deliver,
		FilterSubject: l.Subject,
		Metadata:      map[string]string{ownerKey: id.String()},
	}
}

// ensure makes the feed's consumer, or finds it, while the feed's row is locked, so
// that none is made after the feed was stopped.
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
	made, err := on.js.CreateConsumer(ctx, l.Stream, config)
	if !errors.Is(err, jetstream.ErrConsumerExists) {
		return made, err
	}
	there, err := on.js.Consumer(ctx, l.Stream, l.Durable)
	if err != nil {
		return nil, err
	}
	if ours(there, id) {
		return on.js.UpdateConsumer(ctx, l.Stream, config)
	}
	if there.CachedInfo().Config.AckPolicy != jetstream.AckExplicitPolicy {
		return nil, errForeign
	}
	return there, nil
}

// ours says whether the feed made the consumer.
func ours(c jetstream.Consumer, id uuid.UUID) bool {
	return c.CachedInfo().Config.Metadata[ownerKey] == id.String()
}

// deleteConsumer removes the feed's consumer; absent is no error. One that the
// feed only uses stays.
func (m *messages) deleteConsumer(ctx context.Context, on *link, id uuid.UUID, l listening) error {
	if l.Durable != "" {
		mine := false
		err := on.during(ctx, l.Stream, func(ctx context.Context) error {
			there, err := on.js.Consumer(ctx, l.Stream, l.Durable)
			mine = err == nil && ours(there, id)
			return err
		})
		if err != nil || !mine {
			return present(err)
		}
	}
	err := present(on.during(ctx, l.Stream, func(ctx context.Context) error {
		return on.js.DeleteConsumer(ctx, l.Stream, l.consumerName(id))
	}))
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	// Who may make consumers and not delete them makes it one that goes when
	// nobody asks it for messages.
	config := m.consumerConfig(id, l)
	config.InactiveThreshold = shrunk
	return present(on.during(ctx, l.Stream, func(ctx context.Context) error {
		_, err := on.js.UpdateConsumer(ctx, l.Stream, config)
		return err
	}))
}

// present is nil where what was to be removed is not there.
func present(err error) error {
	for _, absent := range []error{
		jetstream.ErrConsumerNotFound, jetstream.ErrStreamNotFound, jetstream.ErrConsumerDoesNotExist,
		jetstream.ErrJetStreamNotEnabledForAccount,
	} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	return err
}
