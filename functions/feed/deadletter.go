package feed

import (
	"context"
	"errors"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Dead letters. By default they go to a stream of their own, which all triggers of
// an account share, so that it takes one of the streams that the queue's plan has,
// and which is made with the first of them, so that it takes none before. It keeps
// as many of each trigger as the function's plan says, for letterAge, and drops the
// oldest; it sets nothing aside of the account's storage. The trigger's own stream
// is not used: its consumers would get dead letters for messages.
const (
	letterStream = "CHANDLER_DEAD"
	letterPrefix = "chandler.dead."
	letterAge    = 14 * 24 * time.Hour

	// Headers of a dead letter, besides those that the message had.
	headerReason     = "Chandler-Dead-Reason"
	headerTrigger    = "Chandler-Dead-Trigger"
	headerActivation = "Chandler-Dead-Activation"
	headerStream     = "Chandler-Dead-Stream"
	headerSubject    = "Chandler-Dead-Subject"
	headerSequence   = "Chandler-Dead-Sequence"
	headerAttempts   = "Chandler-Dead-Attempts"
	// headerNoData says that the message without its data was all that the server
	// takes; the data are in the stream, while that keeps them.
	headerNoData = "Chandler-Dead-Without-Data"
)

// first is the first value of a header, whatever its case is.
func first(headers nats.Header, name string) string {
	for key, values := range headers {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// ownLetter says whether the message is a dead letter of this trigger, which its
// stream happens to take: fired again it would go in circles.
func (w *work) ownLetter() bool {
	return first(w.message.Headers(), headerTrigger) == w.trigger()
}

func (w *work) trigger() string { return "/" + w.feed.Namespace + "/" + w.feed.Trigger }

// bury stores the message as a dead letter and has the server forget it. Where it
// cannot be stored it stays, and is tried again.
func (w *work) bury(ctx context.Context, why, activation string) {
	if w.settings.DeadLetter != noDeadLetter && w.limits.DeadLetters > 0 {
		if err := w.store(ctx, w.letter(why, activation)); err != nil {
			w.tell(ctx, letterStays+explain(err))
			w.again(w.Pace.RetryMost)
			return
		}
	}
	w.Logger.InfoContext(ctx, "a message became a dead letter", "namespace", w.feed.Namespace, "trigger", w.feed.Trigger,
		"stream", w.meta.Stream, "sequence", w.meta.Sequence.Stream, "attempts", w.meta.NumDelivered)
	_ = w.message.TermWithReason(why) // unheard it is buried again, which the servers tell from the first time
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_ = w.on.conn.FlushWithContext(ctx)
}

// notInToken is what does not belong into a token of a subject.
var notInToken = regexp.MustCompile(`[^A-Za-z0-9_-]`)

func (w *work) letter(why, activation string) *nats.Msg {
	subject := w.settings.DeadLetter
	if subject == "" {
		subject = letterPrefix + notInToken.ReplaceAllString(w.meta.Stream, "_") + "." + notInToken.ReplaceAllString(w.feed.Trigger, "_")
	}
	letter := nats.NewMsg(subject)
	letter.Data = w.message.Data()
	for name, values := range w.message.Headers() {
		// Those would tell the server what to do with the letter.
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

// store publishes a dead letter to a stream that has its subject, or makes ours.
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

// replicas is how many copies the trigger's stream has, and dead letters get.
func (w *work) replicas(ctx context.Context) int {
	stream, err := w.on.js.Stream(ctx, w.meta.Stream)
	if err != nil {
		return 1 // who may not look at it gets what every server can do
	}
	return max(stream.CachedInfo().Config.Replicas, 1)
}

func (w *work) publish(ctx context.Context, letter *nats.Msg) error {
	return w.on.during(ctx, letter.Subject, func(ctx context.Context) error {
		_, err := w.on.js.PublishMsg(ctx, letter, jetstream.WithRetryAttempts(0))
		return err
	})
}
