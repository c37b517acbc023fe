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

// kinds are the feeds' actions, as package/name, and the kinds of feeds they make.
func kinds() map[string]string {
	return map[string]string{
		"alarms/alarm":    kindAlarm,
		"alarms/interval": kindInterval,
		"alarms/once":     kindOnce,
		"messaging/nats":  kindNATS,
	}
}

// request is one call of a feed's action.
type request struct {
	namespace, trigger, kind string
	params                   params
}

// name is what messages call the trigger.
func (r request) name() string { return "/" + r.namespace + "/" + r.trigger }

// Invoke carries out what a caller, who may change triggers of the namespace, asks
// of a feed's action ("alarms/once"). arguments is a JSON object: lifecycleEvent
// (CREATE, READ, UPDATE, DELETE, PAUSE, UNPAUSE), triggerName, and those of the
// feed. authKey is not looked at: the caller has shown who he is.
//
// The answer is the result of the activation. An error of type *Refusal is the
// caller's to mend.
func (f *Feeds) Invoke(ctx context.Context, namespace, action string, arguments json.RawMessage) (json.RawMessage, error) {
	r := request{namespace: namespace, kind: kinds()[action]}
	if r.kind == "" {
		return nil, refuse("there is no feed %s", action)
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

// success is the answer to all but READ.
var success = json.RawMessage(`{"status":"success"}`)

// found is the feed of the request, if it is of the request's kind.
func (f *Feeds) found(ctx context.Context, r request) (state.Feed, error) {
	row, err := f.Store.FeedOf(ctx, f.Store.Pool, state.FeedOfParams{Namespace: r.namespace, Trigger: r.trigger})
	if state.NotFound(err) || err == nil && (row.Kind == kindNATS) != (r.kind == kindNATS) {
		return row, refuse("could not find trigger %s in the database", r.name())
	}
	if err != nil {
		return row, fmt.Errorf("look for the feed: %w", err)
	}
	return row, nil
}

// place is where a feed's secrets are sealed for.
func place(id uuid.UUID) string { return "feed/" + id.String() }

// created stores a new feed.
func (f *Feeds) created(ctx context.Context, r request, id uuid.UUID, settings any, secret []byte, due time.Time) error {
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	key := state.TriggerParams{Namespace: r.namespace, Name: r.trigger}
	if _, err := f.Store.Trigger(ctx, f.Store.Pool, key); state.NotFound(err) {
		return refuse("Trigger authentication request failed.")
	}
	n, err := f.Store.CreateFeed(ctx, f.Store.Pool, state.CreateFeedParams{
		ID: id, Namespace: r.namespace, Trigger: r.trigger, Kind: r.kind,
		Settings: raw, Sealed: f.Sealer.Seal(place(id), secret), DueAt: when(due),
	})
	if err != nil {
		return fmt.Errorf("store the feed: %w", err)
	}
	if n == 0 {
		return refuse("error creating trigger: %s has a feed already", r.name())
	}
	return nil
}

// updated stores what the owner of a feed changed, and switches it on.
func (f *Feeds) updated(ctx context.Context, row state.Feed, settings any, sealed []byte, due time.Time) error {
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	n, err := f.Store.UpdateFeed(ctx, f.Store.Pool, state.UpdateFeedParams{
		ID: row.ID, Version: row.Version, Settings: raw, Sealed: sealed, DueAt: when(due),
	})
	if err != nil {
		return fmt.Errorf("store the feed: %w", err)
	}
	if n == 0 {
		return refuse("there was an error while updating the trigger in the database.")
	}
	return nil
}

// when is a time as the database has it.
func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
