package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/functions/state"
)

type request struct {
	namespace, trigger, kind string
	params                   params
}

// name is the trigger's name in messages.
func (r request) name() string { return "/" + r.namespace + "/" + r.trigger }

// Invoke runs a feed's action ("alarms/once") for a caller who may change triggers of the
// namespace, and returns its result. arguments is a JSON object: lifecycleEvent (CREATE,
// READ, UPDATE, DELETE, PAUSE, UNPAUSE), triggerName, and the feed's parameters. A *Refusal
// is caused by the arguments.
func (f *Feeds) Invoke(ctx context.Context, namespace, action string, arguments json.RawMessage) (json.RawMessage, error) {
	r := request{namespace: namespace, kind: map[string]string{
		"alarms/alarm": kindAlarm, "alarms/interval": kindInterval, "alarms/once": kindOnce, "messaging/nats": kindNATS,
	}[action]}
	if r.kind == "" {
		return nil, refuse("feed %s does not exist", action)
	}
	if err := json.Unmarshal(arguments, &r.params); err != nil {
		return nil, refuse("the parameters must be a JSON object")
	}
	var err error
	if r.trigger, err = triggerOf(namespace, r.params.text("triggerName")); err != nil {
		return nil, err
	}
	verb, ok := map[string]func(context.Context, request) (json.RawMessage, error){
		"CREATE": f.create, "READ": f.read, "UPDATE": f.update,
		"DELETE": f.remove, "PAUSE": f.pause, "UNPAUSE": f.unpause,
	}[r.params.text("lifecycleEvent")]
	if !ok {
		return nil, refuse("unsupported lifecycleEvent")
	}
	return verb(ctx, r)
}

// triggerOf reads "/namespace/name", "/_/name" or "name".
func triggerOf(namespace, qualified string) (string, error) {
	if qualified == "" {
		return "", refuse("no trigger name parameter was provided")
	}
	name, ok := strings.CutPrefix(qualified, "/")
	if !ok {
		return name, nil
	}
	owner, name, _ := strings.Cut(name, "/")
	if owner != namespace && owner != "_" {
		return "", refuse("Trigger authentication request failed.")
	}
	return name, nil
}

// success is the answer except to READ.
var success = json.RawMessage(`{"status":"success"}`)

func (f *Feeds) findFeed(ctx context.Context, r request) (state.Feed, error) {
	row, err := f.Store.FeedOf(ctx, f.Store.Pool, state.FeedOfParams{Namespace: r.namespace, Trigger: r.trigger})
	if state.NotFound(err) || err == nil && (row.Kind == kindNATS) != (r.kind == kindNATS) {
		return row, refuse("could not find trigger %s in the database", r.name())
	}
	if err != nil {
		return row, fmt.Errorf("read the feed: %w", err)
	}
	return row, nil
}

func decode[T timing | listening](row state.Feed) (settings T, err error) {
	if err := json.Unmarshal(row.Settings, &settings); err != nil {
		return settings, fmt.Errorf("read the feed's settings: %w", err)
	}
	return settings, nil
}

// place binds a feed's sealed secrets to the feed.
func place(id uuid.UUID) string { return "feed/" + id.String() }

func (f *Feeds) createFeed(ctx context.Context, r request, id uuid.UUID, settings any, secret []byte, due time.Time) error {
	key := state.TriggerParams{Namespace: r.namespace, Name: r.trigger}
	if _, err := f.Store.Trigger(ctx, f.Store.Pool, key); state.NotFound(err) {
		return refuse("Trigger authentication request failed.")
	}
	n, err := f.Store.CreateFeed(ctx, f.Store.Pool, state.CreateFeedParams{
		ID: id, Namespace: r.namespace, Trigger: r.trigger, Kind: r.kind,
		Settings: toJSON(settings), Sealed: f.Sealer.Seal(place(id), secret), DueAt: nullable(due),
	})
	if err != nil {
		return fmt.Errorf("store the feed: %w", err)
	}
	if n == 0 {
		return refuse("error creating trigger: %s has a feed already", r.name())
	}
	return nil
}

// updateFeed stores the owner's changes and activates the feed.
func (f *Feeds) updateFeed(ctx context.Context, row state.Feed, settings any, sealed []byte, due time.Time) error {
	n, err := f.Store.UpdateFeed(ctx, f.Store.Pool, state.UpdateFeedParams{
		ID: row.ID, Version: row.Version, Settings: toJSON(settings), Sealed: sealed, DueAt: nullable(due),
	})
	if err != nil {
		return fmt.Errorf("store the feed: %w", err)
	}
	if n == 0 {
		return refuse("there was an error while updating the trigger in the database.")
	}
	return nil
}

// nullable is a time for the database; the zero time is null.
func nullable(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
