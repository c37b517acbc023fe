package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return resource(b.names.bucketOf(inst.Name)) }

// List implements services.Lister.
func (b *backend) List(ctx context.Context) ([]services.Resource, error) {
	buckets, err := b.gateway.buckets(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := b.gateway.accessKeys(ctx)
	if err != nil {
		return nil, err
	}
	var found []services.Resource
	for _, bucket := range buckets {
		if instance, ours := b.names.bucket.Instance(bucket); ours {
			found = append(found, services.Resource{Instance: instance, Name: resource(bucket)})
		}
	}
	for _, a := range b.names.ours(keys) {
		found = append(found, services.Resource{Instance: a.instance, Binding: a.binding, Name: "account " + b.names.accessKey(a)})
	}
	return found, nil
}
