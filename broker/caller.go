package broker

import (
	"context"
	"encoding/json"
)

// Caller is the authenticated platform, with what identifies its request. The audit
// record names it, and only its own instances exist for it.
type Caller struct {
	// Platform is the name of the platform in the configuration.
	Platform string
	// RequestID is the X-Broker-API-Request-Identity, or one that was generated.
	RequestID string
	// Originating is the X-Broker-API-Originating-Identity as
	// {"platform": …, "value": {…}}; nil if the platform sent none.
	Originating json.RawMessage
	// Gone reports whether the client has disconnected. If it is nil, nobody can tell.
	Gone func() bool
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller that the context carries.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
