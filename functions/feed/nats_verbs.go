package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

// createMessages stores the feed before it creates the consumer, so that a crash in between
// leaves a working feed, and no unknown consumer. What the servers refuse is refused.
func (f *Feeds) createMessages(ctx context.Context, r request) (json.RawMessage, error) {
	l := listening{Deliver: deliverAll, MaxInFlight: defaultInFlight}
	if _, err := l.set(r.params); err != nil {
		return nil, err
	}
	secret, err := r.params.credentials()
	if err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, refuse("nats trigger feed is missing the credentials parameter")
	}
	on, err := f.reach(ctx, *secret, &l)
	if err != nil {
		return nil, err
	}
	defer on.release()
	id := uuid.New()
	if err := f.createFeed(ctx, r, id, l, encoded(secret), time.Time{}); err != nil {
		return nil, err
	}
	const firstVersion = 1
	if _, err := f.messages.ensure(ctx, on, id, firstVersion, l); err != nil {
		return nil, f.withdraw(ctx, id, err)
	}
	return success, nil
}

// withdraw removes a feed whose consumer could not be created.
func (f *Feeds) withdraw(ctx context.Context, id uuid.UUID, cause error) error {
	if errors.Is(cause, errStopped) {
		return refuse("the trigger was changed at the same time")
	}
	if _, err := f.Store.RemoveFeed(context.WithoutCancel(ctx), f.Store.Pool, id); err != nil {
		return fmt.Errorf("remove the feed: %w", err)
	}
	return refuse("%s", explain(cause))
}

// reach connects, and finds the stream if only its subject is given.
func (f *Feeds) reach(ctx context.Context, secret credentials, l *listening) (*link, error) {
	on, err := f.messages.links.use(secret)
	if err != nil {
		return nil, refuse("%s", explain(err))
	}
	switch {
	case l.Stream == "" && l.Subject == "":
		err = refuse("nats trigger feed is missing the stream or the subject parameter")
	case l.Stream == "":
		err = on.during(ctx, "STREAM.NAMES", func(ctx context.Context) error {
			l.Stream, err = on.js.StreamNameBySubject(ctx, l.Subject)
			return err
		})
	}
	if err != nil {
		on.release()
		return nil, refuse("%s", explain(err))
	}
	return on, nil
}

// updateMessages changes everything except the consumer, whose position would be lost.
func (f *Feeds) updateMessages(ctx context.Context, r request, row state.Feed) (json.RawMessage, error) {
	before, err := decode[listening](row)
	if err != nil {
		return nil, err
	}
	after := before
	changed, err := after.set(r.params)
	if err != nil {
		return nil, err
	}
	if after.Stream != before.Stream || after.Durable != before.Durable || after.Deliver != before.Deliver {
		return nil, refuse("stream, durable and deliver cannot be changed; delete the trigger's feed and create it again")
	}
	secret, err := r.params.credentials()
	if err != nil {
		return nil, err
	}
	if !changed && secret == nil {
		return nil, refuse("no updatable parameters were specified")
	}
	sealed := row.Sealed
	if secret != nil {
		on, err := f.reach(ctx, *secret, &after) // new credentials must work
		if err != nil {
			return nil, err
		}
		on.release()
		sealed = f.Sealer.Seal(place(row.ID), encoded(secret))
	}
	return success, f.updateFeed(ctx, row, after, sealed, time.Time{})
}
