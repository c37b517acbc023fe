package rabbitmq

import (
	"context"
	"fmt"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
)

// The server's words for limits of virtual hosts and users, and for policies.
const (
	maxConnections = "max-connections"
	maxChannels    = "max-channels"
	maxQueues      = "max-queues"

	policy     = "chandler"
	everyQueue = ".*"
	onlyQueues = "queues"
)

// Provision implements services.Backend. Nobody can get into the virtual host
// before there is a binding, so its limits may come one after the other.
func (b *backend) Provision(ctx context.Context, inst instance) error {
	c, err := b.api.client(ctx)
	if err != nil {
		return err
	}
	vhost := b.names.vhost(inst.Name)
	if err := b.api.putVhost(ctx, vhost, "made by chandler", inst.Plan.DefaultQueueType); err != nil {
		return explain("make virtual host "+vhost, err)
	}
	if err := hasQueueType(c, vhost, inst.Plan.DefaultQueueType); err != nil {
		return err
	}
	return limit(c, vhost, inst.Plan)
}

// hasQueueType makes sure that the server took the default queue type: one that
// does not know it ignores it.
func hasQueueType(c *rabbithole.Client, vhost, wanted string) error {
	if wanted == "" {
		return nil
	}
	made, err := c.GetVhost(vhost)
	if err != nil {
		return explain("look at virtual host "+vhost, err)
	}
	if made.DefaultQueueType != wanted {
		return fmt.Errorf("virtual host %s has the default queue type %q and not the plan's %q: the server is older than RabbitMQ 3.10, or the plan was changed; upgrade it, or change the plan back",
			vhost, made.DefaultQueueType, wanted)
	}
	return nil
}

// limit holds a virtual host to its plan.
func limit(c *rabbithole.Client, vhost string, p Plan) error {
	_, err := c.PutVhostLimits(vhost, rabbithole.VhostLimitsValues{maxConnections: p.Connections, maxQueues: p.Queues})
	if err != nil {
		return explain("limit connections and queues of virtual host "+vhost, err)
	}
	return explain("limit the length of queues in virtual host "+vhost, limitLength(c, vhost, p))
}

// limitLength makes two policies: an operator policy, which holds whatever a
// queue is declared with, for the lengths; and one for what happens at the
// limit, which operator policies cannot say. Tenants cannot change either:
// policies are the management API's, which lets nobody in without a tag.
func limitLength(c *rabbithole.Client, vhost string, p Plan) error {
	lengths := p.lengths()
	if len(lengths) == 0 {
		if _, err := c.DeleteOperatorPolicy(vhost, policy); err != nil {
			return err
		}
		_, err := c.DeletePolicy(vhost, policy)
		return err
	}
	_, err := c.PutPolicy(vhost, policy, rabbithole.Policy{
		Pattern: everyQueue, ApplyTo: onlyQueues,
		Definition: rabbithole.PolicyDefinition{"overflow": p.Overflow},
	})
	if err != nil {
		return err
	}
	_, err = c.PutOperatorPolicy(vhost, policy, rabbithole.OperatorPolicy{
		Pattern: everyQueue, ApplyTo: onlyQueues, Definition: lengths,
	})
	return err
}
