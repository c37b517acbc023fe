package feed

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// If the feed has a reply subject, the actions' results are published, as CloudEvents in
// the binary mode, before the message is acknowledged: at least once, and exactly once in
// a stream that drops duplicates.
const (
	resultType = "io.github.chandler-broker.result"

	headerResultOf = "Chandler-Result-Trigger"
	headerResultTo = "Chandler-Result-Event" // the ID of the event
)

const replyWaits = "a result cannot be published, and its message waits: "

// ownReply says whether the message is a reply of this trigger that its own stream stored.
// Firing it would create a loop.
func (w *work) ownReply() bool { return first(w.message.Headers(), headerResultOf) == w.trigger() }

// reply publishes the actions' results, and says whether the message may be acknowledged.
func (w *work) reply(ctx, late context.Context, event Event, fired Fired) bool {
	if w.settings.Reply == "" || w.settings.Reply == noReply {
		return true
	}
	for number, result := range fired.Results {
		if !w.send(ctx, late, w.answer(event, number, result), fired.Activation) {
			return false
		}
	}
	return true
}

// send publishes a result until it is stored.
func (w *work) send(ctx, late context.Context, answer *nats.Msg, activation string) bool {
	for attempts := 1; ; attempts++ {
		err := w.publish(late, answer)
		switch {
		case err == nil:
			return true
		case errors.Is(err, nats.ErrMaxPayload):
			w.bury(late, "its result is larger than the servers allow messages to be", activation)
			return false
		}
		w.report(ctx, replyWaits+explain(err))
		if !pause(ctx, min(w.Pace.pause(attempts), w.Pace.Look)) {
			w.again(0)
			return false
		}
	}
}

// answer is a result as a message. Its ID is the same when the event is fired again, so
// that the servers can drop it.
func (w *work) answer(event Event, number int, result json.RawMessage) *nats.Msg {
	id := event.ID + "-" + strconv.Itoa(number)
	message := nats.NewMsg(w.settings.Reply)
	message.Data = result
	for name, value := range map[string]string{
		"Content-Type":                  "application/json",
		attributePrefix + "specversion": specVersion,
		attributePrefix + "id":          id,
		attributePrefix + "source":      sourceOf(w.feed.Namespace, w.feed.Trigger),
		attributePrefix + "type":        resultType,
		attributePrefix + "time":        time.Now().UTC().Format(time.RFC3339Nano),
		headerResultOf:                  w.trigger(),
		headerResultTo:                  event.ID,
		nats.MsgIdHdr:                   "chandler-" + id,
	} {
		message.Header.Set(name, value)
	}
	return message
}
