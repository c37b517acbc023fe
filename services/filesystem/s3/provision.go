package s3

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Provision implements services.Backend. A hard limit needs a subvolume that becomes the bucket.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	if b.folder == "" {
		return services.ProvisionResult{}, b.gateway.createBucket(ctx, bucket)
	}
	// A folder does not show whether the gateway answers.
	if err := b.Ready(ctx); err != nil {
		return services.ProvisionResult{}, err
	}
	if err := b.folder.Make(bucket); err != nil {
		return services.ProvisionResult{}, fmt.Errorf("make the bucket's folder: %w", err)
	}
	if err := b.folder.Limit(bucket, r.Instance.Plan.Storage); err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, b.gateway.adopt(ctx, bucket)
}

// Update implements services.Backend. Reconcile enforces a limit that is measured.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	s, err := b.state(ctx, r.Instance.Name, "")
	if err != nil {
		return services.UpdateResult{}, b.explainAbsent(bucket, err)
	}
	if err := b.folder.Limit(bucket, r.Instance.Plan.Storage); err != nil {
		return services.UpdateResult{}, err
	}
	if err := b.snapshots.Apply(ctx, btrfs.Change{
		Subvolume: bucket, Previous: r.Previous.Params, Next: r.Instance.Params, Operation: r.Operation,
		Before: r.Previous.Plan.Snapshots, Most: r.Instance.Plan.Snapshots, Limit: r.Instance.Plan.Storage,
	}); err != nil {
		return services.UpdateResult{}, err
	}
	b.scans.Forget(r.Instance.Name)
	if !s.overQuota || r.Instance.Plan.Limits().Any() {
		return services.UpdateResult{}, nil
	}
	s.overQuota = false
	if err := b.gateway.mark(ctx, bucket, false); err != nil {
		return services.UpdateResult{}, err
	}
	return services.UpdateResult{}, b.converge(ctx, r.Instance.Name, s, "")
}

// explainAbsent is the error of a verb that needs a bucket.
func (b *backend) explainAbsent(bucket string, err error) error {
	if objectstore.Is(err, objectstore.NoSuchBucket) {
		return fmt.Errorf("bucket %s does not exist; provision the instance again: %w", bucket, err)
	}
	return err
}
