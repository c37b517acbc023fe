package feed

import (
	"context"
	"encoding/json"
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
	now := f.Clock.Now()
	if err := s.set(r.kind, r.params, now); err != nil {
		return nil, err
	}
	payload, err := r.params.payload()
	if err != nil {
		return nil, err
	}
	if payload == nil {
		payload = json.RawMessage("{}")
	}
	due, err := s.start(r.kind, now)
	if err != nil {
		return nil, err
	}
	return success, f.createFeed(ctx, r, uuid.New(), s, payload, due)
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
	now := f.Clock.Now()
	if err := s.set(row.Kind, r.params, now); err != nil {
		return nil, err
	}
	payload, err := r.params.payload()
	if err != nil {
		return nil, err
	}
	if !s.changes(row.Kind, r.params) && payload == nil {
		return nil, refuse("no updatable parameters were specified")
	}
	sealed := row.Sealed
	if payload != nil {
		sealed = f.Sealer.Seal(place(row.ID), payload)
	}
	due, err := s.start(row.Kind, now)
	if err != nil {
		return nil, err
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
	if row.Kind != kindNATS { // whose secret are credentials
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
