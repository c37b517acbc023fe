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
	if _, err := s.set(r.kind, r.params, now); err != nil {
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
	return success, f.created(ctx, r, uuid.New(), s, payload, due)
}

func (f *Feeds) update(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.found(ctx, r)
	if err != nil {
		return nil, err
	}
	if row.Kind == kindNATS {
		return f.updateMessages(ctx, r, row)
	}
	var s timing
	if err := json.Unmarshal(row.Settings, &s); err != nil {
		return nil, fmt.Errorf("read the feed's settings: %w", err)
	}
	now := f.Clock.Now()
	changed, err := s.set(row.Kind, r.params, now)
	if err != nil {
		return nil, err
	}
	payload, err := r.params.payload()
	if err != nil {
		return nil, err
	}
	if !changed && payload == nil {
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
	return success, f.updated(ctx, row, s, sealed, due)
}

// status is what READ tells of how a feed does.
type status struct {
	Active         bool            `json:"active"`
	DateChanged    int64           `json:"dateChanged"` // milliseconds since 1970
	DateChangedISO string          `json:"dateChangedISO"`
	Reason         json.RawMessage `json:"reason,omitempty"`
	// Message is what keeps an active feed from running at the moment.
	Message string `json:"message,omitempty"`
}

func (f *Feeds) statusOf(row state.Feed) status {
	s := status{
		Active: row.Active, Reason: row.Reason,
		DateChanged:    row.ChangedAt.UnixMilli(),
		DateChangedISO: row.ChangedAt.UTC().Format(time.RFC3339),
	}
	// Whoever has trouble says so again and again, unless it ended itself.
	if row.Trouble != nil && time.Since(*row.TroubleAt) < f.Pace.RetryMost+2*f.Pace.Look {
		s.Message = *row.Trouble
	}
	return s
}

func (f *Feeds) read(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.found(ctx, r)
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if err := json.Unmarshal(row.Settings, &config); err != nil {
		return nil, fmt.Errorf("read the feed's settings: %w", err)
	}
	config["name"], config["namespace"] = row.Trigger, row.Namespace
	if row.Kind != kindNATS { // whose secret is credentials
		payload, err := f.Sealer.Open(place(row.ID), row.Sealed)
		if err != nil {
			return nil, err
		}
		config["payload"] = json.RawMessage(payload)
	}
	return json.Marshal(map[string]any{"config": config, "status": f.statusOf(row)})
}

func (f *Feeds) remove(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.found(ctx, r)
	if err != nil {
		return nil, err
	}
	if _, err := f.Store.RemoveFeed(ctx, f.Store.Pool, row.ID); err != nil {
		return nil, fmt.Errorf("remove the feed: %w", err)
	}
	return success, nil
}

func (f *Feeds) pause(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.found(ctx, r)
	if err != nil || !row.Active {
		return success, err
	}
	n, err := f.Store.StopFeed(ctx, f.Store.Pool, state.StopFeedParams{ID: row.ID, Version: row.Version})
	if err == nil && n == 0 {
		return nil, refuse("there was an error while disabling the trigger in the database.")
	}
	return success, err
}

// unpause goes on from now: times that passed in between are not made up for.
func (f *Feeds) unpause(ctx context.Context, r request) (json.RawMessage, error) {
	row, err := f.found(ctx, r)
	if err != nil || row.Active {
		return success, err
	}
	var due time.Time
	if row.Kind != kindNATS {
		var s timing
		if err := json.Unmarshal(row.Settings, &s); err != nil {
			return nil, fmt.Errorf("read the feed's settings: %w", err)
		}
		if due, err = s.start(row.Kind, f.Clock.Now()); err != nil {
			return nil, err
		}
	}
	return success, f.updated(ctx, row, json.RawMessage(row.Settings), row.Sealed, due)
}
