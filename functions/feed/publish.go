package feed

import (
	"context"
	"encoding/json"
	"errors"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// By default, dead letters go to one stream of the account, which is created with the
// first of them. It keeps the newest of each trigger, as many as the plan says, for
// letterAge. In the trigger's own stream, consumers would get dead letters as messages.
const (
	letterStream = "CHANDLER_DEAD"
	letterPrefix = "chandler.dead."
	letterAge    = 14 * 24 * time.Hour

	// Headers of a dead letter, in addition to the message's.
	headerReason     = "Chandler-Dead-Reason"
	headerTrigger    = "Chandler-Dead-Trigger"
	headerActivation = "Chandler-Dead-Activation"
	headerStream     = "Chandler-Dead-Stream"
	headerSubject    = "Chandler-Dead-Subject"
	headerSequence   = "Chandler-Dead-Sequence"
	headerAttempts   = "Chandler-Dead-Attempts"
	// headerNoData marks a letter that is too large with its data, which remain in the stream.
	headerNoData = "Chandler-Dead-Without-Data"
)

// headerValue is the first value of a header, ignoring case.
func headerValue(headers nats.Header, name string) string {
	for key, values := range headers {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// ownLetter says whether the message is a dead letter of this trigger, which would cause a loop.
func (w *work) ownLetter() bool {
	return headerValue(w.message.Headers(), headerTrigger) == w.trigger()
}

func (w *work) trigger() string { return "/" + w.feed.Namespace + "/" + w.feed.Trigger }

// bury replaces the message by a dead letter. If that cannot be stored, the message is retried.
func (w *work) bury(ctx context.Context, why, activation string) {
	if w.settings.DeadLetter != noDeadLetter && w.limits.DeadLetters > 0 {
		if err := w.store(ctx, w.letter(why, activation)); err != nil {
			w.report(ctx, letterStays+explain(err))
			w.redeliver(w.Pace.RetryMost)
			return
		}
	}
	w.Logger.InfoContext(ctx, "a message became a dead letter", "namespace", w.feed.Namespace, "trigger", w.feed.Trigger,
		"stream", w.meta.Stream, "sequence", w.meta.Sequence.Stream, "attempts", w.meta.NumDelivered)
	_ = w.message.TermWithReason(why) // if it is lost, the message is buried again and the server drops the duplicate
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_ = w.on.conn.FlushWithContext(ctx)
}

// notInToken matches characters that a token of a subject should not contain.
var notInToken = regexp.MustCompile(`[^A-Za-z0-9_-]`)

func (w *work) letter(why, activation string) *nats.Msg {
	subject := w.settings.DeadLetter
	if subject == "" {
		subject = letterPrefix + notInToken.ReplaceAllString(w.meta.Stream, "_") + "." + notInToken.ReplaceAllString(w.feed.Trigger, "_")
	}
	letter := nats.NewMsg(subject)
	letter.Data = w.message.Data()
	for name, values := range w.message.Headers() {
		// Nats- headers would be instructions to the server about the letter.
		if !strings.HasPrefix(textproto.CanonicalMIMEHeaderKey(name), "Nats-") {
			letter.Header[name] = values
		}
	}
	for name, value := range map[string]string{
		headerReason:     why,
		headerTrigger:    w.trigger(),
		headerActivation: activation,
		headerStream:     w.meta.Stream,
		headerSubject:    w.message.Subject(),
		headerSequence:   strconv.FormatUint(w.meta.Sequence.Stream, 10),
		headerAttempts:   strconv.FormatUint(w.meta.NumDelivered, 10),
		nats.MsgIdHdr:    "chandler-" + w.id.String() + "-" + strconv.FormatUint(w.meta.Sequence.Stream, 10),
	} {
		if value != "" {
			letter.Header.Set(name, value)
		}
	}
	return letter
}

// store publishes a dead letter, and creates the stream CHANDLER_DEAD if it is needed.
func (w *work) store(ctx context.Context, letter *nats.Msg) error {
	err := w.publish(ctx, letter)
	if errors.Is(err, nats.ErrMaxPayload) {
		letter.Data = nil
		letter.Header.Set(headerNoData, "true")
		err = w.publish(ctx, letter)
	}
	if !errors.Is(err, jetstream.ErrNoStreamResponse) || w.settings.DeadLetter != "" {
		return err
	}
	err = w.on.during(ctx, letterStream, func(ctx context.Context) error {
		_, err := w.on.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name:              letterStream,
			Description:       "messages that triggers could not work on",
			Subjects:          []string{letterPrefix + ">"},
			MaxAge:            letterAge,
			MaxMsgsPerSubject: w.limits.DeadLetters,
			Replicas:          w.replicas(ctx),
		})
		return err
	})
	if err != nil {
		return err
	}
	return w.publish(ctx, letter)
}

// replicas is the number of replicas of the trigger's stream, which dead letters get too.
func (w *work) replicas(ctx context.Context) int {
	stream, err := w.on.js.Stream(ctx, w.meta.Stream)
	if err != nil {
		return 1 // not readable with these credentials; every server can do this
	}
	return max(stream.CachedInfo().Config.Replicas, 1)
}

func (w *work) publish(ctx context.Context, letter *nats.Msg) error {
	return w.on.during(ctx, letter.Subject, func(ctx context.Context) error {
		_, err := w.on.js.PublishMsg(ctx, letter, jetstream.WithRetryAttempts(0))
		return err
	})
}

// If the feed has a reply subject, the actions' results are published, as CloudEvents in
// the binary mode, before the message is acknowledged: at least once, and exactly once in
// a stream that drops duplicates.
const (
	resultType = "io.github.chandler-broker.result"

	headerResultOf = "Chandler-Result-Trigger"
	headerResultTo = "Chandler-Result-Event" // the ID of the event
)

const replyWaits = "a result cannot be published, and its message waits: "

// ownReply says whether the message is a reply of this trigger, which would cause a loop.
func (w *work) ownReply() bool {
	return headerValue(w.message.Headers(), headerResultOf) == w.trigger()
}

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
	for range w.Pace.attempts(ctx, w.Pace.Look) {
		err := w.publish(late, answer)
		switch {
		case err == nil:
			return true
		case errors.Is(err, nats.ErrMaxPayload):
			w.bury(late, "its result is larger than the servers allow messages to be", activation)
			return false
		}
		w.report(ctx, replyWaits+explain(err))
	}
	w.redeliver(0)
	return false
}

// answer is a result as a message. If the event is fired again, the servers drop its duplicate.
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
