package feed

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	errStopped = errors.New("the feed was stopped or changed")
	// errForeign means that a feed cannot use the existing consumer of its name.
	errForeign = errors.New("the consumer is not a pull consumer with explicit acknowledgement")
)

// maxTrouble limits the text of a server, in bytes.
const maxTrouble = 300

// explain tells the owner of a feed why it does not run. It quotes no secret, and nothing
// from a server at an address that the owner chose.
func explain(err error) string {
	cause := causeOf(err)
	return strings.ToValidUTF8(cause[:min(len(cause), maxTrouble)], "")
}

func causeOf(err error) string {
	var api *jetstream.APIError
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal.Message
	case errors.Is(err, nats.ErrPermissionViolation):
		return "the credentials do not allow it: " + permission(err)
	case isAny(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrMaxAccountConnectionsExceeded):
		return "the servers refuse the credentials; is the queue's binding still there, and does its plan allow another connection?"
	case isAny(err, jetstream.ErrStreamNotFound, nats.ErrStreamNotFound):
		return "the stream does not exist"
	case isAny(err, jetstream.ErrConsumerDeleted, jetstream.ErrConsumerNotFound):
		return "the consumer was deleted"
	case errors.Is(err, errForeign):
		return err.Error()
	case errors.As(err, &api):
		return "JetStream refuses: " + api.Description
	case isAny(err, jetstream.ErrNoStreamResponse, nats.ErrNoResponders):
		return "no server answers for the stream; was it deleted, or is its server down?"
	case unreachable(err):
		return "the servers do not answer"
	}
	return "the servers cannot be used"
}

// permission is the permission that the user lacks, in the words of a server that knows
// the user.
func permission(err error) string {
	_, what, _ := strings.Cut(err.Error(), "ermissions Violation for ")
	what, _, _ = strings.Cut(what, "\n")
	return what
}

// unreachable says whether the servers cannot be reached at the moment.
func unreachable(err error) bool {
	return isAny(err,
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoResponders, jetstream.ErrNoHeartbeat,
		jetstream.ErrConnectionClosed, jetstream.ErrServerShutdown, jetstream.ErrConsumerLeadershipChanged,
		jetstream.ErrNoStreamResponse, context.DeadlineExceeded)
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}
