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

// fireAttempts is how often an alarm's trigger is tried before that due time is
// given up, as in the package alarms.
const fireAttempts = 10

// fire is one due time of a feed that this runtime has taken.
type fire struct {
	feed state.Feed
	due  time.Time
}

func (one fire) key() fireKey { return fireKey{one.feed.ID, one.due.UnixMicro()} }

// start fires in the background. ctx ends when no more is to be begun, late when
// what goes on is to be broken off.
func (a *alarms) start(ctx, late context.Context, one fire) {
	if !a.begin(one) {
		return // its lease lapsed while the database was away
	}
	a.wg.Go(func() {
		defer a.ended(one)
		if a.carryOut(ctx, late, one) {
			a.end(late, one)
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

func (a *alarms) ended(one fire) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.fires, one.key())
	if a.counts[one.feed.Namespace]--; a.counts[one.feed.Namespace] == 0 {
		delete(a.counts, one.feed.Namespace)
	}
	signal(a.wake)
}

// carryOut fires the trigger, and again where it was not the trigger's fault that
// it did not fire. It says whether that due time is done with.
func (a *alarms) carryOut(ctx, late context.Context, one fire) (done bool) {
	event, err := a.event(one)
	if err != nil {
		a.Logger.ErrorContext(late, "an alarm cannot be read", "namespace", one.feed.Namespace, "trigger", one.feed.Trigger, "error", err)
		a.disable(late, one.feed, 500, "its payload cannot be read")
		return true
	}
	throttled := 0
	for attempt := 1; ; attempt++ {
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
		if !pause(ctx, a.Pace.pause(attempt)) {
			return false
		}
	}
}

// errPanic says that a Firer panicked.
var errPanic = errors.New("firing the trigger panicked")

// call fires, and makes an error of a panic.
func call(ctx context.Context, firer Firer, event Event) (fired Fired, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			// The value may quote the payload; where it happened does not.
			err = fmt.Errorf("%w: %T at %s", errPanic, broken, debug.Stack())
		}
	}()
	return firer.Fire(ctx, event)
}

// pause waits and says whether ctx lasted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// event is the trigger's payload with the attributes of a CloudEvent beside it,
// unless the payload has some of its own.
func (a *alarms) event(one fire) (Event, error) {
	payload, err := a.Sealer.Open(place(one.feed.ID), one.feed.Sealed)
	if err != nil {
		return Event{}, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(payload, &object); err != nil {
		return Event{}, errors.New("the payload is no JSON object")
	}
	id := identify(one.feed.ID.String(), one.due.UTC().Format(time.RFC3339Nano))
	if _, taken := object[attributesKey]; !taken {
		attributes, err := json.Marshal(cloudEvent{
			"specversion": specVersion,
			"id":          id,
			"source":      sourceOf(one.feed.Namespace, one.feed.Trigger),
			"type":        alarmType,
			"time":        one.due.UTC().Format(time.RFC3339Nano),
		})
		if err != nil {
			return Event{}, err
		}
		object[attributesKey] = attributes
	}
	if payload, err = json.Marshal(object); err != nil {
		return Event{}, err
	}
	return Event{Namespace: one.feed.Namespace, Trigger: one.feed.Trigger, Payload: payload, ID: id}, nil
}

// identify makes an Event.ID.
func identify(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// end notes that a due time is done with; the database may be away for a while.
func (a *alarms) end(ctx context.Context, one fire) {
	for attempt := 1; ; attempt++ {
		err := a.Store.InTx(ctx, func(tx pgx.Tx) error { return a.finish(ctx, tx, one) })
		if err == nil || ctx.Err() != nil {
			return
		}
		a.Logger.WarnContext(ctx, "the end of an alarm cannot be noted", "error", err)
		if !pause(ctx, a.Pace.pause(attempt)) {
			return
		}
	}
}

func (a *alarms) finish(ctx context.Context, tx pgx.Tx, one fire) error {
	n, err := a.Store.EndFire(ctx, tx, state.EndFireParams{Feed: one.feed.ID, DueAt: one.due, Holder: a.runtime})
	if err != nil || n == 0 || one.feed.Kind != kindOnce {
		return err
	}
	var s timing
	if err := json.Unmarshal(one.feed.Settings, &s); err != nil {
		return nil // such a feed was stopped when it was taken
	}
	if s.DeleteAfterFire != deleteTrigger && s.DeleteAfterFire != deleteRules {
		return nil
	}
	return a.deleteTrigger(ctx, tx, one.feed, s.DeleteAfterFire == deleteRules)
}

// deleteTrigger deletes a feed's trigger, and where rules is set its rules with it.
func (a *alarms) deleteTrigger(ctx context.Context, tx pgx.Tx, row state.Feed, rules bool) error {
	if _, err := a.Store.LockNamespace(ctx, tx, row.Namespace); err != nil {
		if state.NotFound(err) {
			return nil // it goes with its namespace
		}
		return err
	}
	now, err := a.Store.FeedOf(ctx, tx, state.FeedOfParams{Namespace: row.Namespace, Trigger: row.Trigger})
	if state.NotFound(err) || err == nil && (now.ID != row.ID || now.Version != row.Version) {
		return nil // it is gone, or was given another date in between
	}
	if err != nil {
		return err
	}
	if rules {
		of, err := a.Store.RulesOfTrigger(ctx, tx, state.RulesOfTriggerParams{Namespace: row.Namespace, Trigger: row.Trigger})
		if err != nil {
			return err
		}
		for _, rule := range of {
			if err := a.Store.DeleteRule(ctx, tx, state.DeleteRuleParams{Namespace: row.Namespace, Name: rule.Name}); err != nil {
				return err
			}
		}
	}
	return a.Store.DeleteTrigger(ctx, tx, state.DeleteTriggerParams{Namespace: row.Namespace, Name: row.Trigger})
}

// release lets another runtime take over at once.
func (a *alarms) release(late context.Context, one fire) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(late), 5*time.Second)
	defer cancel()
	err := a.Store.ReleaseFire(ctx, a.Store.Pool, state.ReleaseFireParams{Feed: one.feed.ID, DueAt: one.due, Holder: a.runtime})
	if err != nil {
		a.Logger.WarnContext(ctx, "an alarm is left to its lease", "error", err)
	}
}

// disable stops a feed for good, in the words of the package alarms.
func (f *Feeds) disable(ctx context.Context, row state.Feed, status int, why string) {
	f.stop(ctx, row, status, "Trigger automatically disabled: "+why)
}

func (f *Feeds) stop(ctx context.Context, row state.Feed, status int, message string) {
	why := &reason{Kind: "AUTO", StatusCode: status, Message: message}
	_, err := f.Store.StopFeed(ctx, f.Store.Pool, state.StopFeedParams{ID: row.ID, Version: row.Version, Reason: why.raw()})
	if err != nil {
		f.Logger.WarnContext(ctx, "a feed cannot be stopped", "namespace", row.Namespace, "trigger", row.Trigger, "error", err)
	}
}
