package feed

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Reasons why messages wait although the servers work.
const (
	noRule      = "no rule of the trigger is active; messages wait"
	throttled   = "the namespace has reached a limit of its plan; messages wait"
	cannotFire  = "the trigger cannot be fired at the moment; messages wait"
	letterStays = "a dead letter cannot be stored and stays in the stream: "
)

type work struct {
	*listener
	on      *link
	message jetstream.Msg
	meta    *jetstream.MsgMetadata
	ackWait time.Duration
}

// run fires the trigger and only then answers the server. When ctx ends, no new attempt
// begins; when late ends, a running one is interrupted. In both cases another runtime gets
// the message immediately.
func (w *work) run(ctx, late context.Context) {
	done := make(chan struct{})
	defer close(done)
	go w.renew(done)
	switch {
	case ctx.Err() != nil:
		w.redeliver(0)
	case w.ownLetter(), w.ownReply():
		w.acknowledge(late)
	case w.meta.NumDelivered > w.most():
		w.bury(late, "it was delivered "+strconv.FormatUint(w.meta.NumDelivered, 10)+" times", "")
	default:
		w.fire(ctx, late)
	}
}

func (w *work) most() uint64 {
	most := max(w.limits.MessageAttempts, 1)
	if own := w.settings.MaxAttempts; own > 0 {
		most = min(most, own)
	}
	return uint64(most) //nolint:gosec // 1 or more
}

// renew tells the server that work on the message continues, so that it waits.
func (w *work) renew(done <-chan struct{}) {
	tick := time.NewTicker(max(w.ackWait/3, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = w.message.InProgress() // without a connection, the message is delivered again
		}
	}
}

// fire retries without returning the message, which would cost an attempt, unless that is the cause.
func (w *work) fire(ctx, late context.Context) {
	event := w.event()
	for range w.Pace.attempts(ctx, w.Pace.Look) {
		fired, err := call(late, w.Firer, event)
		wait := ""
		switch {
		case err == nil && fired.Rules > 0 && fired.Failed == 0:
			if w.reply(ctx, late, event, fired) {
				w.report(late, "")
				w.acknowledge(late)
			}
			return
		case err == nil && fired.Rules > 0:
			w.failed(late, strconv.Itoa(fired.Failed)+" of "+strconv.Itoa(fired.Rules)+" actions failed", fired.Activation)
			return
		case err == nil:
			wait = noRule
		case late.Err() != nil:
			w.redeliver(0)
			return
		case errors.Is(err, errPanic):
			w.Logger.ErrorContext(late, "firing a trigger broke", "namespace", w.feed.Namespace, "trigger", w.feed.Trigger, "error", err)
			w.failed(late, "the runtime failed", "")
			return
		case errors.Is(err, ErrNoTrigger):
			w.redeliver(w.Pace.pause(1)) // the feed is deleted with the trigger
			return
		case errors.Is(err, ErrTooLarge):
			w.bury(late, "it is larger than the plan allows payloads to be", "")
			return
		case errors.Is(err, ErrThrottled):
			wait = throttled
		default:
			wait = cannotFire
			w.Logger.WarnContext(late, "a trigger cannot be fired", "namespace", w.feed.Namespace, "trigger", w.feed.Trigger, "error", err)
		}
		w.report(ctx, wait)
	}
	w.redeliver(0)
}

// failed returns the message for a later attempt, or buries it after the last one.
func (w *work) failed(ctx context.Context, why, activation string) {
	if w.meta.NumDelivered >= w.most() {
		w.bury(ctx, why, activation)
		return
	}
	w.redeliver(w.Pace.pause(int(w.meta.NumDelivered))) //nolint:gosec // below most
}

func (w *work) redeliver(after time.Duration) {
	if after <= 0 {
		_ = w.message.Nak()
		return
	}
	_ = w.message.NakWithDelay(after)
}

// acknowledge retries for as long as the server waits; after that, the message is delivered again.
func (w *work) acknowledge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.ackWait)
	defer cancel()
	for range w.Pace.attempts(ctx, w.Pace.RetryMost) {
		attempt, stop := context.WithTimeout(ctx, callPatience)
		err := w.message.DoubleAck(attempt)
		stop()
		if err == nil || errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
			return
		}
	}
}

func (w *work) event() Event {
	sequence := strconv.FormatUint(w.meta.Sequence.Stream, 10)
	headers := w.message.Headers()
	e := eventOf(w.message.Data(), headers, cloudEvent{
		"specversion": specVersion,
		"id":          w.meta.Stream + ":" + sequence,
		"source":      "nats:" + url.PathEscape(w.message.Subject()),
		"type":        messageType,
		"subject":     w.message.Subject(),
		"time":        w.meta.Timestamp.UTC().Format(time.RFC3339Nano),
	})
	object := map[string]any{
		attributesKey: e.attributes,
		messageKey: map[string]any{
			"stream":    w.meta.Stream,
			"subject":   w.message.Subject(),
			"sequence":  w.meta.Sequence.Stream,
			"delivered": w.meta.NumDelivered,
			"time":      w.meta.Timestamp.UTC().Format(time.RFC3339Nano),
			"headers":   headers,
		},
	}
	if e.key != "" {
		object[e.key] = e.data
	}
	return Event{
		Namespace: w.feed.Namespace, Trigger: w.feed.Trigger, Payload: toJSON(object),
		ID: identify(w.id.String(), w.meta.Stream, sequence),
	}
}
