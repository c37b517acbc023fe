package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend. First the gateway forgets the access key,
// which ends all use of it, then the bucket's policy forgets the account.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	s, err := b.state(ctx, r.Instance.Name, r.Binding.Name)
	if err == nil {
		err = b.settle(ctx, r.Instance.Name, s, r.Binding.Name)
	}
	if is(err, noSuchBucket) {
		return services.UnbindResult{}, nil
	}
	return services.UnbindResult{}, err
}
