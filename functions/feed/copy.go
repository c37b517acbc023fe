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

// Copy is a trigger's feed in a copy of its namespace.
type Copy struct {
	Kind string `json:"kind"`
	// Settings and Secret are those of the row: Secret is the payload of alarms, and the
	// credentials of others.
	Settings json.RawMessage `json:"settings"`
	Secret   json.RawMessage `json:"secret"`
	Active   bool            `json:"active"`
}

// Settings returns what of a copy in JSON stays the same while a feed runs.
func Settings(raw json.RawMessage) json.RawMessage {
	var c Copy
	if json.Unmarshal(raw, &c) != nil {
		return raw
	}
	c.Active = false
	return toJSON(c)
}

// Export returns a trigger's feed; nil if it has none.
func (f *Feeds) Export(ctx context.Context, db state.DBTX, namespace, trigger string) (*Copy, error) {
	row, err := f.Store.FeedOf(ctx, db, state.FeedOfParams{Namespace: namespace, Trigger: trigger})
	if state.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the feed: %w", err)
	}
	secret, err := f.Sealer.Open(place(row.ID), row.Sealed)
	if err != nil {
		return nil, err
	}
	return &Copy{row.Kind, json.RawMessage(row.Settings), secret, row.Active}, nil
}

// Import makes a trigger's feed of a copy, whose parameters are checked as those of a CREATE. It
// begins anew: an alarm fires at its next time, and messages are read from where a new consumer
// begins. A feed that was paused, or has no next time any more, is inactive. A *Refusal is caused
// by the copy.
func (f *Feeds) Import(ctx context.Context, namespace, trigger string, c Copy) error {
	r, id := request{namespace: namespace, trigger: trigger, kind: c.Kind}, uuid.New()
	settings, secret, due, why, err := f.checkCopy(c)
	if err != nil {
		return err
	}
	if !c.Active {
		due, why = time.Time{}, nil
	}
	if err := f.createFeed(ctx, r, id, settings, secret, due); err != nil || c.Active && why == nil {
		return err
	}
	const firstVersion = 1
	_, err = f.Store.StopFeed(ctx, f.Store.Pool, state.StopFeedParams{ID: id, Version: firstVersion, Reason: why})
	return err
}

// checkCopy returns what the row of a feed contains; why says that it has no next time.
func (f *Feeds) checkCopy(c Copy) (settings any, secret []byte, due time.Time, why json.RawMessage, err error) {
	var p params
	if json.Unmarshal(c.Settings, &p) != nil {
		return nil, nil, due, nil, refuse("the settings must be a JSON object")
	}
	switch c.Kind {
	case kindNATS:
		settings, secret, err = checkListening(p, c.Secret)
		return settings, secret, due, nil, err
	case kindAlarm, kindInterval, kindOnce:
	default:
		return nil, nil, due, nil, refuse("feed %q does not exist", c.Kind)
	}
	var s timing
	// Dates may have passed since the copy was made.
	if err := s.set(c.Kind, p, time.Time{}); err != nil {
		return nil, nil, due, nil, err
	}
	var payload map[string]json.RawMessage
	if json.Unmarshal(c.Secret, &payload) != nil {
		return nil, nil, due, nil, refuse("the payload must be a JSON object")
	}
	due, err = s.start(c.Kind, f.Clock.Now())
	if _, ended := errors.AsType[*Refusal](err); ended {
		return s, c.Secret, time.Time{}, toJSON(reason{Kind: "AUTO", Message: "Not started with the restored namespace, because its last time has passed"}), nil
	}
	return s, c.Secret, due, nil, err
}

// checkListening checks the settings and the credentials of a feed of messages.
func checkListening(p params, secret json.RawMessage) (listening, []byte, error) {
	l := listening{Deliver: deliverAll, MaxInFlight: defaultInFlight}
	if _, err := l.set(p); err != nil {
		return l, nil, err
	}
	if l.Stream == "" {
		return l, nil, refuse("nats trigger feed is missing the stream parameter")
	}
	found, err := params{"credentials": secret}.credentials()
	if err != nil {
		return l, nil, err
	}
	if found == nil {
		return l, nil, refuse("nats trigger feed is missing the credentials parameter")
	}
	return l, toJSON(found), nil
}
