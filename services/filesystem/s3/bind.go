package s3

import (
	"context"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, inst instance, bd binding) (services.Credentials, error) {
	bucket := b.names.bucketOf(inst.Name)
	s, err := b.state(ctx, inst.Name, "")
	if err != nil {
		return services.Credentials{}, b.explainAbsent(bucket, err)
	}
	mine := account{instance: inst.Name, binding: bd.Name, role: bd.Params.Role}
	others := slices.DeleteFunc(slices.Clone(s.accounts), func(a account) bool { return a.binding == mine.binding })
	if len(others) >= inst.Plan.Bindings {
		return services.Credentials{}, services.Rejected("this instance has %d bindings, and its plan allows %d: remove one, or choose a larger plan", len(others), inst.Plan.Bindings)
	}
	// What an earlier attempt under the same identifiers left with another
	// role is somebody else's credential.
	for _, a := range s.accounts {
		if a.binding == mine.binding && a != mine {
			if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
				return services.Credentials{}, err
			}
		}
	}
	secret := bd.Seed.Password("s3")
	if err := b.gateway.putAccount(ctx, b.names.accessKey(mine), secret); err != nil {
		return services.Credentials{}, err
	}
	s.accounts = append(others, mine)
	if err := b.settle(ctx, inst.Name, s, ""); err != nil {
		return services.Credentials{}, b.explainAbsent(bucket, err)
	}
	return b.told.credentials(bucket, b.names.accessKey(mine), secret), nil
}
