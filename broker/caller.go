package broker

import (
	"context"
	"encoding/json"
)

// Caller is who asks: the authenticated platform, and what its request says of
// itself. It goes to the audit log and decides which instances exist for it.
type Caller struct {
	// Platform is the name of the platform in the configuration.
	Platform string
	// RequestID is the X-Broker-API-Request-Identity, or one made for the
	// request where the platform sent none.
	RequestID string
	// Originating is the X-Broker-API-Originating-Identity as
	// {"platform": …, "value": {…}}; nil where the platform sent none.
	Originating json.RawMessage
}

type callerKey struct{}

// WithCaller returns a context that carries the caller. domain.ServiceBroker's
// signatures leave no other way.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller that the context carries.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
