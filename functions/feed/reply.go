package feed

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Where the feed has a subject for them, the actions' answers are published before
// the message is acknowledged: at least once, and once in a stream that drops
// duplicates. They are CloudEvents in the binary mode.
const (
	resultType = "io.github.chandler-broker.result"

	// headerResultOf names the trigger whose action's answer a message is, and
	// headerResultTo the ID of the event it was fired for.
	headerResultOf = "Chandler-Result-Trigger"
	headerResultTo = "Chandler-Result-Event"
)

const replyWaits = "a result cannot be published, and its message waits: "

// ownReply says whether the message is an answer of this trigger's actions, which
// its stream happens to take: fired again it would go in circles.
func (w *work) ownReply() bool { return first(w.message.Headers(), headerResultOf) == w.trigger() }

// reply publishes what the actions answered, with the message in hand until that is
// done. It says whether the message may be acknowledged.
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

// send publishes an answer, again until it is stored.
func (w *work) send(ctx, late context.Context, answer *nats.Msg, activation string) bool {
	for attempts := 1; ; attempts++ {
		err := w.publish(late, answer)
		switch {
		case err == nil:
			return true
		case errors.Is(err, nats.ErrMaxPayload):
			w.bury(late, "its result is larger than the servers take messages", activation)
			return false
		}
		w.tell(ctx, replyWaits+explain(err))
		if !pause(ctx, min(w.Pace.pause(attempts), w.Pace.Look)) {
			w.again(0)
			return false
		}
	}
}

// answer is a result as a message. An event that is fired again has the same ones,
// which the servers drop.
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
