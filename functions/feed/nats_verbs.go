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

// createMessages stores the feed first and then makes its consumer, so that a crash
// in between leaves a feed that runs and no consumer that nobody knows of. What
// the servers refuse is refused.
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
	plain, err := json.Marshal(secret) //nolint:gosec // to be sealed
	if err != nil {
		return nil, err
	}
	id := uuid.New()
	if err := f.created(ctx, r, id, l, plain, time.Time{}); err != nil {
		return nil, err
	}
	const firstVersion = 1
	if _, err := f.messages.ensure(ctx, on, id, firstVersion, l); err != nil {
		return nil, f.withdraw(ctx, id, err)
	}
	return success, nil
}

// withdraw removes a feed whose consumer could not be made.
func (f *Feeds) withdraw(ctx context.Context, id uuid.UUID, cause error) error {
	if errors.Is(cause, errStopped) {
		return refuse("the trigger was changed at the same time")
	}
	if _, err := f.Store.RemoveFeed(context.WithoutCancel(ctx), f.Store.Pool, id); err != nil {
		return fmt.Errorf("remove the feed: %w", err)
	}
	return refuse("%s", explain(cause))
}

// reach connects, and finds the stream of a subject where none is named.
func (f *Feeds) reach(ctx context.Context, secret credentials, l *listening) (*link, error) {
	on, err := f.messages.links.use(secret)
	if err != nil {
		return nil, refuse("%s", explain(err))
	}
	if l.Stream == "" && l.Subject == "" {
		on.release()
		return nil, refuse("nats trigger feed is missing the stream or the subject parameter")
	}
	if l.Stream == "" {
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

// updateMessages changes all but which consumer there is, whose position would be
// lost.
func (f *Feeds) updateMessages(ctx context.Context, r request, row state.Feed) (json.RawMessage, error) {
	var before listening
	if err := json.Unmarshal(row.Settings, &before); err != nil {
		return nil, fmt.Errorf("read the feed's settings: %w", err)
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
		if sealed, err = f.replaced(ctx, row, *secret, &after); err != nil {
			return nil, err
		}
	}
	return success, f.updated(ctx, row, after, sealed, time.Time{})
}

// replaced seals new credentials that work.
func (f *Feeds) replaced(ctx context.Context, row state.Feed, secret credentials, l *listening) ([]byte, error) {
	on, err := f.reach(ctx, secret, l)
	if err != nil {
		return nil, err
	}
	on.release()
	plain, err := json.Marshal(secret) //nolint:gosec // to be sealed
	if err != nil {
		return nil, err
	}
	return f.Sealer.Seal(place(row.ID), plain), nil
}
