package rabbitmq

import (
	"context"
	"fmt"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
)

// The server's words for limits of virtual hosts and users, and for policies.
const (
	maxConnections = "max-connections"
	maxChannels    = "max-channels"
	maxQueues      = "max-queues"

	policy       = "chandler"
	streamPolicy = "chandler-streams"
	everyQueue   = ".*"
	onlyQueues   = "queues"

	stopped = "stopped" // a virtual host's state on a node
)

// priorities of policies: the higher goes first.
var priorities = map[string]int{policy: 1, streamPolicy: 0}

// Provision implements services.Backend. Nobody can get into the virtual host
// before there is a binding, so its limits may come one after the other.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	c, err := b.api.client(ctx)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	vhost := b.names.vhost(r.Instance.Name)
	if err := b.api.putVhost(ctx, vhost, "made by chandler", r.Instance.Plan.DefaultQueueType); err != nil {
		return services.ProvisionResult{}, explain("make virtual host "+vhost, err)
	}
	if err := made(c, vhost, r.Instance.Plan.DefaultQueueType); err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.limit(c, vhost, r.Instance.Plan)
}

// made makes sure that applications can use the virtual host, and that the server
// took the default queue type: one that does not know it ignores it.
func made(c *rabbithole.Client, vhost, queueType string) error {
	made, err := c.GetVhost(vhost)
	if err != nil {
		return explain("look at virtual host "+vhost, err)
	}
	for node, state := range made.ClusterState {
		if state == stopped {
			return makeAnew(c, vhost, node)
		}
	}
	if queueType != "" && made.DefaultQueueType != queueType {
		return fmt.Errorf("virtual host %s has the default queue type %q and not the plan's %q: the server is older than RabbitMQ 3.10, or the plan was changed; upgrade it, or change the plan back",
			vhost, made.DefaultQueueType, queueType)
	}
	return nil
}

// makeAnew removes a virtual host that does not run because it was never made to
// the end: the server gives that up where the connection is lost that asked for
// it, and does not finish it when it is asked again. Nobody got into it, as its
// missing limits show; one that has them holds somebody's messages.
func makeAnew(c *rabbithole.Client, vhost, node string) error {
	limits, err := c.GetVhostLimits(vhost)
	if err != nil && !absent(err) {
		return explain("look at the limits of virtual host "+vhost, err)
	}
	if len(limits) > 0 {
		return fmt.Errorf("virtual host %s does not run on %s; see why in the server's log, and start it with rabbitmqctl restart_vhost", vhost, node)
	}
	if _, err := c.DeleteVhost(vhost); err != nil {
		return explain("remove the half-made virtual host "+vhost, err)
	}
	return services.NotYet(making, "the virtual host is being made anew")
}

// making is when to ask again for a virtual host that was half made.
const making = 100 * time.Millisecond

// limit holds a virtual host to its plan.
func (b *backend) limit(c *rabbithole.Client, vhost string, p Plan) error {
	_, err := c.PutVhostLimits(vhost, rabbithole.VhostLimitsValues{maxConnections: p.Connections, maxQueues: p.Queues})
	if err != nil {
		return explain("limit connections and queues of virtual host "+vhost, err)
	}
	return explain("limit the length of queues in virtual host "+vhost, b.limitLength(c, vhost, p))
}

// limitLength makes policies: operator policies, which hold whatever a queue is
// declared with, for the lengths; and others for what happens at the limit, which
// operator policies cannot say. Tenants cannot change them: policies are the
// management API's, which lets nobody in without a tag.
//
// A policy that has a key which streams do not know does not hold for a stream,
// which then has no limit at all. So streams have a pair of their own, with a
// lower priority: each queue obeys the first that holds for it.
func (b *backend) limitLength(c *rabbithole.Client, vhost string, p Plan) error {
	if err := setPolicy(c, vhost, policy, rabbithole.PolicyDefinition{"overflow": p.Overflow}, p.lengths(b.frame)); err != nil {
		return err
	}
	return setPolicy(c, vhost, streamPolicy, rabbithole.PolicyDefinition{"stream-max-segment-size-bytes": p.segment()}, p.streamLengths())
}

// setPolicy makes the policy and the operator policy of a name; where there are no
// lengths it removes them.
func setPolicy(c *rabbithole.Client, vhost, name string, definition rabbithole.PolicyDefinition, lengths map[string]any) error {
	if len(lengths) == 0 {
		if _, err := c.DeleteOperatorPolicy(vhost, name); err != nil {
			return err
		}
		_, err := c.DeletePolicy(vhost, name)
		return err
	}
	_, err := c.PutPolicy(vhost, name, rabbithole.Policy{
		Pattern: everyQueue, ApplyTo: onlyQueues, Priority: priorities[name], Definition: definition,
	})
	if err != nil {
		return err
	}
	_, err = c.PutOperatorPolicy(vhost, name, rabbithole.OperatorPolicy{
		Pattern: everyQueue, ApplyTo: onlyQueues, Priority: priorities[name], Definition: lengths,
	})
	return err
}
