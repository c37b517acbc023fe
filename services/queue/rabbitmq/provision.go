package rabbitmq

import (
	"cmp"
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

// Provision implements services.Backend. Limits may come late: there is no binding yet.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	c := b.api.client(ctx)
	vhost := b.names.vhost(r.Instance.Name)
	if err := b.api.putVhost(ctx, vhost, "made by chandler", r.Instance.Plan.DefaultQueueType); err != nil {
		return services.ProvisionResult{}, explain("make virtual host "+vhost, err)
	}
	if err := checkVhost(c, vhost, r.Instance.Plan.DefaultQueueType); err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.limit(c, vhost, r.Instance.Plan)
}

// checkVhost checks that the virtual host is usable, and that the server knows its queue type.
func checkVhost(c *rabbithole.Client, vhost, queueType string) error {
	made, err := c.GetVhost(vhost)
	if err != nil {
		return explain("look at virtual host "+vhost, err)
	}
	for node, state := range made.ClusterState {
		if state == stopped {
			return removeIncomplete(c, vhost, node)
		}
	}
	if queueType != "" && made.DefaultQueueType != queueType {
		return fmt.Errorf("virtual host %s has the default queue type %q and not the plan's %q: the server is older than RabbitMQ 3.10, or the plan was changed; upgrade it, or change the plan back",
			vhost, made.DefaultQueueType, queueType)
	}
	return nil
}

// removeIncomplete removes a virtual host that was never completed: the server stops making it when the
// connection is lost, and does not go on when asked again. Only one with limits may hold messages.
func removeIncomplete(c *rabbithole.Client, vhost, node string) error {
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
	return services.NotYet(100*time.Millisecond, "the virtual host is being made again")
}

// limit holds a virtual host to its plan.
func (b *backend) limit(c *rabbithole.Client, vhost string, p Plan) error {
	_, err := c.PutVhostLimits(vhost, rabbithole.VhostLimitsValues{maxConnections: p.Connections, maxQueues: p.Queues})
	if err != nil {
		return explain("limit connections and queues of virtual host "+vhost, err)
	}
	return explain("limit the length of queues in virtual host "+vhost, b.limitLength(c, vhost, p))
}

// limitLength makes operator policies for lengths, which apply however a queue is declared, and
// policies for what happens at the limit, which operator policies cannot define. Tenants cannot
// change them. A policy with a key that streams do not know does not apply to them, so they have
// policies of their own; each queue obeys the applicable one with the highest priority.
func (b *backend) limitLength(c *rabbithole.Client, vhost string, p Plan) error {
	if err := setPolicy(c, vhost, policy, rabbithole.PolicyDefinition{"overflow": p.Overflow}, p.lengths(b.frame)); err != nil {
		return err
	}
	return setPolicy(c, vhost, streamPolicy, rabbithole.PolicyDefinition{"stream-max-segment-size-bytes": p.segment()}, p.streamLengths())
}

// setPolicy makes the policy and the operator policy of a name, or removes them without lengths.
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

// Update implements services.Backend. What exceeds a smaller plan's limits stays.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	c := b.api.client(ctx)
	if err := b.limit(c, b.names.vhost(r.Instance.Name), r.Instance.Plan); err != nil {
		return services.UpdateResult{}, err
	}
	users, err := b.usersOf(c, r.Instance.Name)
	if err != nil {
		return services.UpdateResult{}, err
	}
	for _, user := range users {
		if err := limitUser(c, user, r.Instance.Plan); err != nil {
			return services.UpdateResult{}, err
		}
	}
	return services.UpdateResult{}, nil
}

func limitUser(c *rabbithole.Client, user string, p Plan) error {
	_, err := c.PutUserLimits(user, rabbithole.UserLimitsValues{
		maxConnections: cmp.Or(p.ConnectionsPerBinding, p.Connections),
		maxChannels:    cmp.Or(p.ChannelsPerBinding, noLimit),
	})
	return explain("limit connections and channels of user "+user, err)
}

// usersOf returns the users of an instance's bindings, also those without permissions, and the one
// of a copy.
func (b *backend) usersOf(c *rabbithole.Client, instance string) ([]string, error) {
	all, err := c.ListUsers()
	if err != nil {
		return nil, explain("list users", err)
	}
	var users []string
	for _, u := range all {
		if inst, _, ok := b.names.users.Binding(u.Name); ok && inst == instance || u.Name == b.names.copyUser(instance) {
			users = append(users, u.Name)
		}
	}
	return users, nil
}
