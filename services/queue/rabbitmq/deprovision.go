package rabbitmq

import (
	"context"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
)

// Deprovision implements services.Backend. The users go first, so that nobody
// makes anything in a virtual host that is being removed; the server would leave
// them behind.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	c, err := b.api.client(ctx)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	users, err := b.usersOf(c, r.Instance.Name)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	vhost := b.names.vhost(r.Instance.Name)
	for _, user := range users {
		if err := remove(c, vhost, user); err != nil {
			return services.DeprovisionResult{}, err
		}
	}
	_, err = c.DeleteVhost(vhost)
	return services.DeprovisionResult{}, explain("remove virtual host "+vhost, err)
}

// Unbind implements services.Backend.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	c, err := b.api.client(ctx)
	if err != nil {
		return services.UnbindResult{}, err
	}
	return services.UnbindResult{}, remove(c, b.names.vhost(r.Instance.Name), b.names.user(r.Instance.Name, r.Binding.Name))
}

// remove removes a user and closes its connections. It first revokes the permissions, so
// that the user cannot come back, and then closes the connections, because the server
// closes those of a removed user only after it has answered.
func remove(c *rabbithole.Client, vhost, user string) error {
	if _, err := c.ClearPermissionsIn(vhost, user); err != nil {
		return explain("take the permissions of user "+user, err)
	}
	if _, err := c.CloseAllConnectionsOfUser(user); failed(err) {
		return services.NotYet(closing, "the server is closing the application's connections")
	} else if err != nil {
		return explain("close the connections of user "+user, err)
	}
	_, err := c.DeleteUser(user)
	return explain("remove user "+user, err)
}

// closing is the time that a connection takes to end.
const closing = 200 * time.Millisecond
