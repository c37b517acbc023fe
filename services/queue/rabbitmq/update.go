package rabbitmq

import (
	"context"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend. What is there beyond a smaller plan's
// limits stays; no more is let in.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	c, err := b.api.client(ctx)
	if err != nil {
		return services.UpdateResult{}, err
	}
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
	_, err := c.PutUserLimits(user, rabbithole.UserLimitsValues{maxConnections: p.perBinding(), maxChannels: p.channels()})
	return explain("limit connections and channels of user "+user, err)
}

// usersOf returns the users of an instance's bindings. The API can list all
// users or those with permissions; these may have none yet.
func (b *backend) usersOf(c *rabbithole.Client, instance string) ([]string, error) {
	all, err := c.ListUsers()
	if err != nil {
		return nil, explain("list users", err)
	}
	var users []string
	for _, u := range all {
		if inst, _, ok := b.names.users.Binding(u.Name); ok && inst == instance {
			users = append(users, u.Name)
		}
	}
	return users, nil
}
