package broker

import (
	"context"
	"maps"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// describeTime is how long an answer waits for what a backend has to tell of an
// instance.
const describeTime = 2 * time.Second

// attributes are what an instance's metadata tells its user: its condition, and
// what its backend knows. A backend that is away leaves its part out; the rest
// of the answer is still true.
func (b *Broker) attributes(ctx context.Context, have store.Instance, plan *catalog.Plan) map[string]any {
	driver, err := b.driver(plan, have.Server)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	described, err := driver.Describe.OrZero(ctx, operation.RawInstance(have, plan))
	if err != nil {
		b.Logger.WarnContext(ctx, "backend could not describe an instance", "instance_id", have.ID, "backend", plan.Backend, "error", err.Error())
	}
	attributes := maps.Clone(described)
	if have.Condition != "" {
		if attributes == nil {
			attributes = map[string]any{}
		}
		attributes["condition"] = have.Condition
	}
	return attributes
}
