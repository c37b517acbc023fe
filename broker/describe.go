package broker

import (
	"context"
	"maps"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// describeTime is how long an answer waits for a backend's description of an instance.
const describeTime = 2 * time.Second

// attributes are those of an instance's metadata: its condition, its backups, and the backend's
// description. If the backend does not answer, the description is omitted.
func (b *Broker) attributes(ctx context.Context, have store.Instance, plan *catalog.Plan) map[string]any {
	attributes := map[string]any{}
	maps.Copy(attributes, b.described(ctx, have, plan))
	if plan.Backups != nil {
		backups, err := b.backupAttributes(ctx, have, plan)
		if err != nil {
			b.Logger.WarnContext(ctx, "could not read an instance's backups", "instance_id", have.ID, "error", err.Error())
		} else {
			attributes["backups"] = backups
		}
	}
	if have.Condition != "" {
		attributes["condition"] = have.Condition
	}
	if len(attributes) == 0 {
		return nil
	}
	return attributes
}

func (b *Broker) described(ctx context.Context, have store.Instance, plan *catalog.Plan) map[string]any {
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
	return described
}
