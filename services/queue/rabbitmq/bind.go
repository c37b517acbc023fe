package rabbitmq

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"fmt"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. The permissions come last: without them the
// user can connect to nothing.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	c, err := b.api.client(ctx)
	if err != nil {
		return services.BindResult{}, err
	}
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

// makeUser makes a user without tags, because any tag opens the management API. An existing
// user gets the same hash again.
func makeUser(c *rabbithole.Client, user, hash string) error {
	_, err := c.PutUser(user, rabbithole.UserSettings{
		Name: user, Tags: rabbithole.UserTags{},
		PasswordHash: hash, HashingAlgorithm: rabbithole.HashingAlgorithmSHA512,
	})
	return explain("make user "+user, err)
}

// hash is how the server stores a password: a salt of four bytes, and the digest of salt
// and password (RabbitMQ documentation, "Credentials and Passwords"). The salt derives from
// the seed, so that a repeated bind changes nothing.
func hash(seed *services.Seed, password services.Secret) string {
	salt := seed.Bytes("salt", 4)
	digest := sha512.Sum512(append(salt[:4:4], password.Reveal()...))
	hash := base64.StdEncoding.EncodeToString(append(salt, digest[:]...))
	seed.Conceal(hash)
	return hash
}

// permit grants a user the permissions of the parameters, topics first: an exchange
// without a topic permission allows all keys.
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
	if badPattern(err) {
		return services.Rejected("parameters.%s: the server cannot read a regular expression; use PCRE's syntax", keys)
	}
	return explain(doing, err)
}
