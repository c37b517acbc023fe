package rabbitmq

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. A user without permissions, which come last, cannot connect.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	c := b.api.client(ctx)
	vhost, user := b.names.vhost(r.Instance.Name), b.names.user(r.Instance.Name, r.Binding.Name)
	if _, err := c.GetVhost(vhost); absent(err) {
		return services.BindResult{}, fmt.Errorf("virtual host %s does not exist; provision the instance again", vhost)
	} else if err != nil {
		return services.BindResult{}, explain("look at virtual host "+vhost, err)
	}
	password := r.Binding.Seed.Password("password")
	if err := makeUser(c, user, hash(r.Binding.Seed, password)); err != nil {
		return services.BindResult{}, err
	}
	if err := limitUser(c, user, r.Instance.Plan); err != nil {
		return services.BindResult{}, err
	}
	if err := permit(c, vhost, user, r.Binding.Params); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.server.credentials(vhost, user, password)}, nil
}

// makeUser makes a user, or restores its hash. Any tag would open the management API.
func makeUser(c *rabbithole.Client, user, hash string) error {
	_, err := c.PutUser(user, rabbithole.UserSettings{
		Name: user, Tags: rabbithole.UserTags{},
		PasswordHash: hash, HashingAlgorithm: rabbithole.HashingAlgorithmSHA512,
	})
	return explain("make user "+user, err)
}

// hash is how the server stores a password: a salt of four bytes, and a digest (RabbitMQ
// documentation, "Credentials and Passwords"). The seed's salt makes a repeated bind a no-op.
func hash(seed *services.Seed, password services.Secret) string {
	salt := seed.Bytes("salt", 4)
	digest := sha512.Sum512(append(salt[:4:4], password.Reveal()...))
	hash := base64.StdEncoding.EncodeToString(append(salt, digest[:]...))
	seed.Conceal(hash)
	return hash
}

// permit grants the permissions, topics first: without these an exchange allows all keys.
func permit(c *rabbithole.Client, vhost, user string, p BindingParams) error {
	for _, t := range p.Topics {
		_, err := c.UpdateTopicPermissionsIn(vhost, user, rabbithole.TopicPermissions{
			Exchange: t.Exchange, Write: pattern(t.Write, everything), Read: pattern(t.Read, everything),
		})
		if err != nil {
			return refusedPattern("topics", "permit topics to user "+user, err)
		}
	}
	_, err := c.UpdatePermissionsIn(vhost, user, p.permissions())
	return refusedPattern("configure, write and read", "give permissions to user "+user, err)
}

func (p BindingParams) permissions() rabbithole.Permissions {
	otherwise := everything
	if p.Role == access.ReadOnly {
		otherwise = nothing
	}
	return rabbithole.Permissions{
		Configure: pattern(p.Configure, otherwise),
		Write:     pattern(p.Write, otherwise),
		Read:      pattern(p.Read, everything),
	}
}

func pattern(p *string, otherwise string) string {
	if p == nil {
		return otherwise
	}
	return *p
}

// refusedPattern rejects a regular expression that Go reads and the server does not.
func refusedPattern(keys, doing string, err error) error {
	if statusOf(err) == http.StatusBadRequest && strings.Contains(err.Error(), "invalid_regexp") {
		return services.Rejected("parameters.%s: the server cannot read a regular expression; use PCRE's syntax", keys)
	}
	return explain(doing, err)
}

// Deprovision implements services.Backend. The users go first, because the server leaves behind
// what is made in a virtual host while it is being removed.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	c := b.api.client(ctx)
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
	return services.UnbindResult{}, remove(b.api.client(ctx), b.names.vhost(r.Instance.Name), b.names.user(r.Instance.Name, r.Binding.Name))
}

// remove revokes a user's permissions, closes its connections and then deletes it: the server
// closes a deleted user's connections only after its answer.
func remove(c *rabbithole.Client, vhost, user string) error {
	if _, err := c.ClearPermissionsIn(vhost, user); err != nil {
		return explain("take the permissions of user "+user, err)
	}
	if _, err := c.CloseAllConnectionsOfUser(user); failed(err) {
		return services.NotYet(200*time.Millisecond, "the server is closing the application's connections")
	} else if err != nil {
		return explain("close the connections of user "+user, err)
	}
	_, err := c.DeleteUser(user)
	return explain("remove user "+user, err)
}
