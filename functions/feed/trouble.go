package feed

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// errStopped says that a feed does not run any more, or not as it did.
	errStopped = errors.New("the feed was stopped or changed")
	// errForeign says that the consumer of the feed's name is none that a feed can
	// use.
	errForeign = errors.New("the consumer is not one that is pulled from with explicit acknowledgement")
)

// maxTrouble bounds what a server may say, in bytes.
const maxTrouble = 300

// explain tells the owner of a feed what keeps it from running. It quotes nothing
// of what is behind an address of his choice, and no secret.
func explain(err error) string {
	words := causeOf(err)
	return strings.ToValidUTF8(words[:min(len(words), maxTrouble)], "")
}

func causeOf(err error) string {
	var api *jetstream.APIError
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal.Message
	case errors.Is(err, nats.ErrPermissionViolation):
		return "the credentials do not allow it: " + permission(err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrMaxAccountConnectionsExceeded):
		return "the servers refuse the credentials; is the queue's binding still there, and does its plan allow another connection?"
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrStreamNotFound):
		return "the stream does not exist"
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound):
		return "the consumer was deleted"
	case errors.Is(err, errForeign):
		return err.Error()
	case errors.As(err, &api):
		return "JetStream refuses: " + api.Description
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return "nobody answers for the stream; was it deleted, or has its server gone?"
	case unreachable(err):
		return "the servers do not answer"
	}
	return "the servers cannot be used"
}

// permission is what a server says that a user lacks. It is written by a server
// that knows the user.
func permission(err error) string {
	_, what, _ := strings.Cut(err.Error(), "ermissions Violation for ")
	what, _, _ = strings.Cut(what, "\n")
	return what
}

// unreachable says that an error comes of servers that cannot be talked to now.
func unreachable(err error) bool {
	for _, one := range []error{
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoResponders, jetstream.ErrNoHeartbeat,
		jetstream.ErrConnectionClosed, jetstream.ErrServerShutdown, jetstream.ErrConsumerLeadershipChanged,
		jetstream.ErrNoStreamResponse, context.DeadlineExceeded,
	} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}
