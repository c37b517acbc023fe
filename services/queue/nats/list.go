package nats

import (
	"context"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
)

// List implements services.Lister. An instance is there while its account is,
// and a binding while its signing key is in the account.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	var found []services.Resource
	err := b.link.forEach(ctx, func(token string) {
		claims, err := jwt.DecodeAccountClaims(token)
		if err != nil {
			return // another operator's, of an unknown kind
		}
		name, ours := b.keys.instanceOf(claims)
		if !ours {
			return
		}
		found = append(found, services.Resource{Instance: name, Name: resource(claims.Name, claims.Subject)})
		for key, scope := range claims.SigningKeys {
			if s, ok := scope.(*jwt.UserScope); ok {
				found = append(found, services.Resource{Instance: name, Binding: s.Role, Name: claims.Name + " (signing key " + key + ")"})
			}
		}
	})
	return found, err
}

// resource names an account as its owner's tools show it, and by its key.
func resource(name, public string) string { return name + " (account " + public + ")" }

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string {
	public, err := b.keys.account(inst.Name)
	if err != nil {
		return ""
	}
	return resource(b.keys.prefix+inst.Name, public)
}
