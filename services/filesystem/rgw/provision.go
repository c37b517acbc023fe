package rgw

import (
	"context"
	"fmt"
	"net/http"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Provision implements services.Backend.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	name := r.Instance.Name
	u, err := b.gateway.createOwner(ctx, b.names.user(name, owner))
	if err != nil {
		return services.ProvisionResult{}, err
	}
	for role, opMask := range map[access.Role]string{access.ReadWrite: "", access.ReadOnly: "read"} {
		if err := b.gateway.createUser(ctx, b.names.user(name, objectstore.RoleSuffix(role)), opMask); err != nil {
			return services.ProvisionResult{}, err
		}
	}
	if !hasQuota(u, r.Instance.Plan) {
		if err := b.gateway.setQuota(ctx, u.ID, r.Instance.Plan); err != nil {
			return services.ProvisionResult{}, err
		}
	}
	s3, err := b.gateway.asOwner(ctx, u)
	if err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.createBucket(ctx, s3, name)
}

// createBucket makes an instance's bucket and its policy, as its owner.
func (b *backend) createBucket(ctx context.Context, s3 *objectstore.Client, instance string) error {
	bucket := b.names.bucketOf(instance)
	err := s3.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: bucket}, nil)
	// The owner may have one bucket. If it is another one, writing the policy fails.
	if err != nil && !objectstore.Is(err, tooManyBuckets, objectstore.BucketExists, objectstore.BucketOwned) {
		return s3.Explain("make the bucket", err)
	}
	policy, err := b.names.policy(instance)
	if err != nil {
		return err
	}
	return s3.PutPolicy(ctx, bucket, policy)
}

// Update implements services.Backend. The gateway enforces a lower limit with the next write.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	b.scans.Forget(r.Instance.Name)
	err := b.gateway.setQuota(ctx, b.names.user(r.Instance.Name, owner), r.Instance.Plan)
	return services.UpdateResult{}, b.explainAbsent(r.Instance.Name, err)
}

// explainAbsent is the error of a verb that needs a bucket.
func (b *backend) explainAbsent(instance string, err error) error {
	if objectstore.Is(err, objectstore.NoSuchBucket, noSuchUser) {
		return fmt.Errorf("bucket %s or one of its users does not exist; provision the instance again: %w", b.names.bucketOf(instance), err)
	}
	return err
}
