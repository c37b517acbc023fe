package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// fireAttempts is the number of attempts to fire for one due time, as in package alarms.
const fireAttempts = 10

type fire struct {
	feed state.Feed
	due  time.Time
}

func (one fire) key() fireKey { return fireKey{one.feed.ID, one.due.UnixMicro()} }

// start fires in the background until late ends; after ctx, no new attempt begins.
func (a *alarms) start(ctx, late context.Context, one fire) {
	if !a.begin(one) {
		return // already running here: its lease lapsed while the database was unavailable
	}
	a.wg.Go(func() {
		defer a.end(one)
		if a.carryOut(ctx, late, one) {
			a.recordEnd(late, one)
			return
		}
		a.release(late, one)
	})
}

func (a *alarms) begin(one fire) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fires[one.key()] {
		return false
	}
	a.fires[one.key()] = true
	a.counts[one.feed.Namespace]++
	return true
}

func (a *alarms) end(one fire) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.fires, one.key())
	if a.counts[one.feed.Namespace]--; a.counts[one.feed.Namespace] == 0 {
		delete(a.counts, one.feed.Namespace)
	}
	signal(a.wake)
}

// carryOut fires the trigger, with retries, and says whether the due time is done.
func (a *alarms) carryOut(ctx, late context.Context, one fire) (done bool) {
	event, err := a.event(one)
	if err != nil {
		a.Logger.ErrorContext(late, "an alarm cannot be read", "namespace", one.feed.Namespace, "trigger", one.feed.Trigger, "error", err)
		a.disable(late, one.feed, 500, "its payload cannot be read")
		return true
	}
	throttled := 0
	for attempt := range a.Pace.attempts(ctx, a.Pace.RetryMost) {
		_, err := call(late, a.Firer, event)
		switch {
		case err == nil:
			return true
		case late.Err() != nil:
			return false
		case errors.Is(err, ErrNoTrigger):
			a.disable(late, one.feed, 404, "Received a 404 status code when firing the trigger")
			return true
		case errors.Is(err, ErrTooLarge):
			a.disable(late, one.feed, 413, "Received a 413 status code when firing the trigger")
			return true
		case errors.Is(err, ErrThrottled):
			throttled++
		}
		if attempt == fireAttempts {
			a.Logger.WarnContext(late, "an alarm was not fired", "namespace", event.Namespace, "trigger", event.Trigger, "due_at", one.due, "error", err)
			if throttled == fireAttempts {
				a.stop(late, one.feed, 429, "Automatically disabled after continuously receiving a 429 status code when firing the trigger")
			}
			return true
		}
	}
	return false
}

var errPanic = errors.New("firing the trigger panicked")

// call fires, and converts a panic to an error.
func call(ctx context.Context, firer Firer, event Event) (fired Fired, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			// The value may quote the payload; the stack does not.
			err = fmt.Errorf("%w: %T at %s", errPanic, broken, debug.Stack())
		}
	}()
	return firer.Fire(ctx, event)
}

// event adds the attributes of a CloudEvent to the trigger's payload, unless it has some.
func (a *alarms) event(one fire) (Event, error) {
	payload, err := a.Sealer.Open(place(one.feed.ID), one.feed.Sealed)
	if err != nil {
		return Event{}, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(payload, &object); err != nil {
		return Event{}, errors.New("the payload is not a JSON object")
	}
	id := identify(one.feed.ID.String(), one.due.UTC().Format(time.RFC3339Nano))
	if _, taken := object[attributesKey]; !taken {
		object[attributesKey] = toJSON(cloudEvent{
			"specversion": specVersion,
			"id":          id,
			"source":      sourceOf(one.feed.Namespace, one.feed.Trigger),
			"type":        alarmType,
			"time":        one.due.UTC().Format(time.RFC3339Nano),
		})
	}
	return Event{Namespace: one.feed.Namespace, Trigger: one.feed.Trigger, Payload: toJSON(object), ID: id}, nil
}

func identify(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // never fails
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (a *alarms) recordEnd(ctx context.Context, one fire) {
	for range a.Pace.attempts(ctx, a.Pace.RetryMost) {
		err := a.Store.InTx(ctx, func(tx pgx.Tx) error { return a.finish(ctx, tx, one) })
		if err == nil || ctx.Err() != nil {
			return
		}
		a.Logger.WarnContext(ctx, "the end of an alarm cannot be recorded", "error", err)
	}
}

func (a *alarms) finish(ctx context.Context, tx pgx.Tx, one fire) error {
	n, err := a.Store.EndFire(ctx, tx, state.EndFireParams{Feed: one.feed.ID, DueAt: one.due, Holder: a.runtime})
	if err != nil || n == 0 || one.feed.Kind != kindOnce {
		return err
	}
	s, err := decode[timing](one.feed)
	if err != nil || s.DeleteAfterFire != deleteTrigger && s.DeleteAfterFire != deleteRules {
		return nil // a feed with invalid settings was stopped when its due time was taken
	}
	return a.deleteTrigger(ctx, tx, one.feed, s.DeleteAfterFire == deleteRules)
}

func (a *alarms) deleteTrigger(ctx context.Context, tx pgx.Tx, row state.Feed, rules bool) error {
	if _, err := a.Store.LockNamespace(ctx, tx, row.Namespace); err != nil {
		if state.NotFound(err) {
			return nil // it is deleted with its namespace
		}
		return err
	}
	current, err := a.Store.FeedOf(ctx, tx, state.FeedOfParams{Namespace: row.Namespace, Trigger: row.Trigger})
	if state.NotFound(err) || err == nil && (current.ID != row.ID || current.Version != row.Version) {
		return nil // it was deleted, or got another date in the meantime
	}
	if err != nil {
		return err
	}
	if rules {
		if err := a.Store.DeleteRulesOfTrigger(ctx, tx, state.DeleteRulesOfTriggerParams{Namespace: row.Namespace, Trigger: row.Trigger}); err != nil {
			return err
		}
	}
	return a.Store.DeleteTrigger(ctx, tx, state.DeleteTriggerParams{Namespace: row.Namespace, Name: row.Trigger})
}

// release lets another runtime take over immediately.
func (a *alarms) release(late context.Context, one fire) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(late), 5*time.Second)
	defer cancel()
	err := a.Store.ReleaseFire(ctx, a.Store.Pool, state.ReleaseFireParams{Feed: one.feed.ID, DueAt: one.due, Holder: a.runtime})
	if err != nil {
		a.Logger.WarnContext(ctx, "an alarm cannot be released and waits for the end of its lease", "error", err)
	}
}

// disable stops a feed permanently, in the words of package alarms.
func (f *Feeds) disable(ctx context.Context, row state.Feed, status int, why string) {
	f.stop(ctx, row, status, "Trigger automatically disabled: "+why)
}

func (f *Feeds) stop(ctx context.Context, row state.Feed, status int, message string) {
	why := toJSON(reason{Kind: "AUTO", StatusCode: status, Message: message})
	_, err := f.Store.StopFeed(ctx, f.Store.Pool, state.StopFeedParams{ID: row.ID, Version: row.Version, Reason: why})
	if err != nil {
		f.Logger.WarnContext(ctx, "a feed cannot be stopped", "namespace", row.Namespace, "trigger", row.Trigger, "error", err)
	}
}
