package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"

	"github.com/chandler-broker/chandler/services"
)

// Calls makes a span of each call to a backend's server, except the frequent ones for
// readiness and capacity.
func Calls(backend string) services.Around {
	return func(ctx context.Context, i services.Invocation, next func(context.Context) error) error {
		if i.Local || i.Name == "ready" || i.Name == "capacity" {
			return next(ctx)
		}
		attributes := []attribute.KeyValue{attribute.String("chandler.backend", backend)}
		if id := i.Instance(); id != "" {
			attributes = append(attributes, attribute.String("chandler.instance.id", id))
		}
		if id := i.Binding(); id != "" {
			attributes = append(attributes, attribute.String("chandler.binding.id", id))
		}
		if r, ok := i.Request.(services.RawReconcile); ok {
			attributes = append(attributes, attribute.Int("chandler.instances", len(r.Instances)))
		}
		return Run(ctx, "backend "+i.Name, next, attributes...)
	}
}
