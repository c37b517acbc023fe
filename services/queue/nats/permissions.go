package nats

import (
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services/access"
)

// readingAPI are the subjects that reading streams takes (NATS documentation,
// "JetStream wire API Reference"): looking at them, getting messages, making a
// consumer, fetching from it and acknowledging.
func readingAPI() []string {
	return []string{
		"$JS.API.INFO",
		"$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.LIST",
		"$JS.API.STREAM.INFO.*",
		"$JS.API.STREAM.MSG.GET.*",
		"$JS.API.DIRECT.GET.>",
		"$JS.API.CONSUMER.NAMES.*",
		"$JS.API.CONSUMER.LIST.*",
		"$JS.API.CONSUMER.INFO.*.*",
		"$JS.API.CONSUMER.CREATE.>",
		"$JS.API.CONSUMER.DURABLE.CREATE.*.*",
		"$JS.API.CONSUMER.MSG.NEXT.*.*",
		"$JS.ACK.>",
		"$JS.FC.>",
	}
}

const (
	everything = ">"
	streams    = "$JS.>" // the API, whatever its domain; acknowledgements, flow control, snapshots
	inboxes    = "_INBOX.>"

	// An application that may respond sends one message to each request, for as
	// long as requests usually wait.
	answers      = 1
	answerWithin = 2 * time.Minute
)

// permissions are what a binding may do. They are part of the account and not
// of what the application is given, so that the servers always know them.
func permissions(p BindingParams) jwt.UserPermissionLimits {
	limits := jwt.UserPermissionLimits{AllowedConnectionTypes: jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeWebsocket}}
	limits.NatsLimits = jwt.NatsLimits{Subs: jwt.NoLimit, Data: jwt.NoLimit, Payload: jwt.NoLimit}
	publish, subscribe := &limits.Pub, &limits.Sub
	if p.Subscribe != nil {
		subscribe.Allow.Add(p.Subscribe...)
		subscribe.Allow.Add(inboxes)
	}
	switch {
	case p.Publish != nil:
		publish.Allow.Add(p.Publish...)
		if p.ReadStreams {
			publish.Allow.Add(readingAPI()...)
		}
		if p.Respond {
			limits.Resp = &jwt.ResponsePermission{MaxMsgs: answers, Expires: answerWithin}
		}
	// A stream hands out messages whatever subject they have, so reading
	// streams would go around the list of subjects.
	case p.Role == access.ReadOnly && p.Subscribe != nil:
		publish.Deny.Add(everything)
	case p.Role == access.ReadOnly:
		publish.Allow.Add(readingAPI()...)
	case p.Subscribe != nil:
		publish.Deny.Add(streams)
	}
	return limits
}
