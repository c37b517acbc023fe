package s3

import (
	"context"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	s, err := b.state(ctx, r.Instance.Name, "")
	if err != nil {
		return services.BindResult{}, b.explainAbsent(bucket, err)
	}
	mine := account{instance: r.Instance.Name, binding: r.Binding.Name, role: r.Binding.Params.Role}
	others := slices.DeleteFunc(slices.Clone(s.accounts), func(a account) bool { return a.binding == mine.binding })
	if err := r.Instance.Plan.CheckBindings(len(others)); err != nil {
		return services.BindResult{}, err
	}
	// An account of an earlier attempt with another role is another credential.
	for _, a := range s.accounts {
		if a.binding == mine.binding && a != mine {
			if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
				return services.BindResult{}, err
			}
		}
	}
	secret := r.Binding.Seed.Password("s3")
	if err := b.gateway.putAccount(ctx, b.names.accessKey(mine), secret); err != nil {
		return services.BindResult{}, err
	}
	s.accounts = append(others, mine)
	if err := b.converge(ctx, r.Instance.Name, s, ""); err != nil {
		return services.BindResult{}, b.explainAbsent(bucket, err)
	}
	return services.BindResult{Credentials: b.public.BucketCredentials(bucket, b.names.accessKey(mine), secret)}, nil
}

// Unbind implements services.Backend. Deleting the access key ends all access.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	s, err := b.state(ctx, r.Instance.Name, r.Binding.Name)
	if err == nil {
		err = b.converge(ctx, r.Instance.Name, s, r.Binding.Name)
	}
	if objectstore.Is(err, objectstore.NoSuchBucket) {
		return services.UnbindResult{}, nil
	}
	return services.UnbindResult{}, err
}
