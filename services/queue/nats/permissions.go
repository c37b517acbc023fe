package nats

import (
	"time"

	"github.com/nats-io/jwt/v2"
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
	streamAPI  = "$JS.API.>"
	inboxes    = "_INBOX.>"

	// Who may publish to some subjects only may still answer a request that
	// it was sent: with one message, for as long as requests usually wait.
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
	switch narrow := p.Subscribe != nil; {
	case p.Publish != nil:
		publish.Allow.Add(p.Publish...)
		limits.Resp = &jwt.ResponsePermission{MaxMsgs: answers, Expires: answerWithin}
		if !narrow {
			publish.Allow.Add(readingAPI()...)
		}
	// A stream hands out messages whatever subject they have, so reading
	// streams would go around the list of subjects.
	case p.Role == readOnly && narrow:
		publish.Deny.Add(everything)
	case p.Role == readOnly:
		publish.Allow.Add(readingAPI()...)
	case narrow:
		publish.Deny.Add(streamAPI)
	}
	return limits
}
