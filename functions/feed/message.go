package feed

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What keeps messages waiting though the servers are there.
const (
	noRule      = "no rule of the trigger is active; messages wait"
	throttled   = "the namespace has reached a limit of its plan; messages wait"
	cannotFire  = "the trigger cannot be fired at the moment; messages wait"
	letterStays = "a dead letter cannot be stored and stays in the stream: "
)

// work is one message under way.
type work struct {
	*listener
	on      *link
	message jetstream.Msg
	meta    *jetstream.MsgMetadata
	ackWait time.Duration
}

// run fires the trigger and then, and only then, tells the server what is to become
// of the message. ctx ends when nothing is to be begun, late when what goes on is
// to be broken off; in both cases another runtime gets the message at once.
func (w *work) run(ctx, late context.Context) {
	done := make(chan struct{})
	defer close(done)
	go w.keep(done)
	switch {
	case ctx.Err() != nil:
		w.again(0)
	case w.ownLetter(), w.ownReply():
		w.acknowledge(late)
	case w.meta.NumDelivered > w.most():
		w.bury(late, "it was delivered "+strconv.FormatUint(w.meta.NumDelivered, 10)+" times", "")
	default:
		w.fire(ctx, late)
	}
}

// most is how often the message is tried.
func (w *work) most() uint64 {
	most := max(w.limits.MessageAttempts, 1)
	if own := w.settings.MaxAttempts; own > 0 {
		most = min(most, own)
	}
	return uint64(most) //nolint:gosec // 1 or more
}

// keep tells the server that the message is being worked on, so that it waits.
func (w *work) keep(done <-chan struct{}) {
	tick := time.NewTicker(max(w.ackWait/3, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = w.message.InProgress() // without a connection it is delivered again
		}
	}
}

// fire fires until the trigger was fired. Where that is not the message's fault it
// waits, with the message in hand, so that no attempt is lost.
func (w *work) fire(ctx, late context.Context) {
	event := w.event()
	for attempts := 1; ; attempts++ {
		fired, err := call(late, w.Firer, event)
		wait := ""
		switch {
		case err == nil && fired.Rules > 0 && fired.Failed == 0:
			if w.reply(ctx, late, event, fired) {
				w.tell(late, "")
				w.acknowledge(late)
			}
			return
		case err == nil && fired.Rules > 0:
			w.failed(late, strconv.Itoa(fired.Failed)+" of "+strconv.Itoa(fired.Rules)+" actions failed", fired.Activation)
			return
		case err == nil:
			wait = noRule
		case late.Err() != nil:
			w.again(0)
			return
		case errors.Is(err, errPanic):
			w.Logger.ErrorContext(late, "firing a trigger broke", "namespace", w.feed.Namespace, "trigger", w.feed.Trigger, "error", err)
			w.failed(late, "the runtime failed", "")
			return
		case errors.Is(err, ErrNoTrigger):
			w.again(w.Pace.pause(1)) // this feed goes with it
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
		w.tell(ctx, wait)
		if !pause(ctx, min(w.Pace.pause(attempts), w.Pace.Look)) {
			w.again(0)
			return
		}
	}
}

// failed lets the message come again later, or buries it after the last attempt.
func (w *work) failed(ctx context.Context, why, activation string) {
	if w.meta.NumDelivered >= w.most() {
		w.bury(ctx, why, activation)
		return
	}
	w.again(w.Pace.pause(int(w.meta.NumDelivered))) //nolint:gosec // below most
}

// again has the message delivered anew after a pause; what is not heard of is
// delivered after the acknowledgement is overdue.
func (w *work) again(after time.Duration) {
	if after <= 0 {
		_ = w.message.Nak()
		return
	}
	_ = w.message.NakWithDelay(after)
}

// acknowledge tells the server that the message is done with, again while there is
// no connection and the server still waits for it. Without an answer the message
// comes once more.
func (w *work) acknowledge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.ackWait)
	defer cancel()
	for attempts := 1; ; attempts++ {
		once, stop := context.WithTimeout(ctx, callPatience)
		err := w.message.DoubleAck(once)
		stop()
		if err == nil || errors.Is(err, jetstream.ErrMsgAlreadyAckd) || !pause(ctx, w.Pace.pause(attempts)) {
			return
		}
	}
}

// event is the message as the trigger's actions get it.
func (w *work) event() Event {
	id := identify(w.id.String(), w.meta.Stream, strconv.FormatUint(w.meta.Sequence.Stream, 10))
	headers := w.message.Headers()
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	e := eventOf(w.message.Data(), names, func(name string) string { return first(headers, name) }, cloudEvent{
		"specversion": specVersion,
		"id":          w.meta.Stream + ":" + strconv.FormatUint(w.meta.Sequence.Stream, 10),
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
	payload, err := json.Marshal(object)
	if err != nil {
		panic(err) // what came as JSON was checked, the rest is strings and numbers
	}
	return Event{Namespace: w.feed.Namespace, Trigger: w.feed.Trigger, Payload: payload, ID: id}
}
