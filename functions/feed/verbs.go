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

func (f *Feeds) create(ctx context.Context, r request) (json.RawMessage, error) {
	if r.kind == kindNATS {
		return f.createMessages(ctx, r)
	}
	var s timing
	payload, due, err := f.schedule(r.kind, &s, r.params, false)
	if err != nil {
		return nil, err
	}
	if payload == nil {
		payload = json.RawMessage("{}")
	}
	return success, f.createFeed(ctx, r, uuid.New(), s, payload, due)
}

// schedule applies the parameters of a CREATE or UPDATE to the settings, and returns the
// payload, if one is given, and the first due time.
func (f *Feeds) schedule(kind string, s *timing, p params, update bool) (payload json.RawMessage, due time.Time, err error) {
	now := f.Clock.Now()
	if err := s.set(kind, p, now); err != nil {
		return nil, due, err
	}
	if payload, err = p.payload(); err != nil {
		return nil, due, err
	}
	if update && payload == nil && !s.changes(kind, p) {
		return nil, due, refuse("no updatable parameters were specified")
	}
	due, err = s.start(kind, now)
	return payload, due, err
}

func (f *Feeds) update(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.findFeed(ctx, r)
	if err != nil {
		return nil, err
	}
	if row.Kind == kindNATS {
		return f.updateMessages(ctx, r, row)
	}
	s, err := decode[timing](row)
	if err != nil {
		return nil, err
	}
	payload, due, err := f.schedule(row.Kind, &s, r.params, true)
	if err != nil {
		return nil, err
	}
	sealed := row.Sealed
	if payload != nil {
		sealed = f.Sealer.Seal(place(row.ID), payload)
	}
	return success, f.updateFeed(ctx, row, s, sealed, due)
}

// status is a part of the answer to READ.
type status struct {
	Active         bool            `json:"active"`
	DateChanged    int64           `json:"dateChanged"` // milliseconds since 1970
	DateChangedISO string          `json:"dateChangedISO"`
	Reason         json.RawMessage `json:"reason,omitempty"`
	Message        string          `json:"message,omitempty"` // why an active feed does not run at the moment
}

func (f *Feeds) statusOf(row state.Feed) status {
	s := status{
		Active: row.Active, Reason: row.Reason,
		DateChanged:    row.ChangedAt.UnixMilli(),
		DateChangedISO: row.ChangedAt.UTC().Format(time.RFC3339),
	}
	// A runtime repeats its trouble. If it stopped doing so, it ended.
	if row.Trouble != nil && time.Since(*row.TroubleAt) < f.Pace.RetryMost+2*f.Pace.Look {
		s.Message = *row.Trouble
	}
	return s
}

func (f *Feeds) read(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.findFeed(ctx, r)
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := json.Unmarshal(row.Settings, &config); err != nil {
		return nil, fmt.Errorf("read the feed's settings: %w", err)
	}
	config["name"], config["namespace"] = row.Trigger, row.Namespace
	if row.Kind != kindNATS { // only feeds of NATS have credentials as their secret
		payload, err := f.Sealer.Open(place(row.ID), row.Sealed)
		if err != nil {
			return nil, err
		}
		config["payload"] = json.RawMessage(payload)
	}
	return json.Marshal(map[string]any{"config": config, "status": f.statusOf(row)})
}

func (f *Feeds) remove(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.findFeed(ctx, r)
	if err != nil {
		return nil, err
	}
	if _, err := f.Store.RemoveFeed(ctx, f.Store.Pool, row.ID); err != nil {
		return nil, fmt.Errorf("remove the feed: %w", err)
	}
	return success, nil
}

func (f *Feeds) pause(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.findFeed(ctx, r)
	if err != nil || !row.Active {
		return success, err
	}
	n, err := f.Store.StopFeed(ctx, f.Store.Pool, state.StopFeedParams{ID: row.ID, Version: row.Version})
	if err == nil && n == 0 {
		return nil, refuse("there was an error while disabling the trigger in the database.")
	}
	return success, err
}

// unpause continues from now: times that passed during the pause do not fire.
func (f *Feeds) unpause(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.findFeed(ctx, r)
	if err != nil || row.Active {
		return success, err
	}
	var due time.Time
	if row.Kind != kindNATS {
		s, err := decode[timing](row)
		if err != nil {
			return nil, err
		}
		if due, err = s.start(row.Kind, f.Clock.Now()); err != nil {
			return nil, err
		}
	}
	return success, f.updateFeed(ctx, row, json.RawMessage(row.Settings), row.Sealed, due)
}

// createMessages stores the feed first, so that a crash cannot leave an unknown consumer.
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
	if err := f.createFeed(ctx, r, id, l, toJSON(secret), time.Time{}); err != nil {
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
		sealed = f.Sealer.Seal(place(row.ID), toJSON(secret))
	}
	return success, f.updateFeed(ctx, row, after, sealed, time.Time{})
}
